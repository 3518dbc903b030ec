//! Keys, certificates and kubeconfigs of one control plane.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use serde_json::json;

/// A certificate authority which writes what it issues into one folder.
pub(crate) struct Authority {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Makes the authority and writes `ca.crt`.
    ///
    /// # Errors
    /// A sentence, when the folder cannot be written.
    pub(crate) fn new(folder: &Path) -> Result<Self, String> {
        let key = KeyPair::generate().map_err(told)?;
        let mut params = params("test-control-plane", None);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let certificate = params.self_signed(&key).map_err(told)?;
        write(&folder.join("ca.crt"), &certificate.pem())?;
        Ok(Self { folder: folder.to_owned(), issuer: Issuer::new(params, key) })
    }

    /// The file with the authority's certificate.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.folder.join("ca.crt")
    }

    /// Writes `DIR/tls.crt` and `DIR/tls.key` of a server with these DNS names and addresses.
    ///
    /// # Errors
    /// A sentence, when a name is none or the folder cannot be written.
    pub(crate) fn server(&self, folder: &Path, names: &[&str]) -> Result<(), String> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = params("server", None);
        params.subject_alt_names = CertificateParams::new(names).map_err(told)?.subject_alt_names;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        fs::create_dir_all(folder).map_err(told)?;
        self.issue(params, &folder.join("tls.crt"), &folder.join("tls.key"))
    }

    /// Writes a client certificate and `USER.kubeconfig`, and returns the latter's path.
    ///
    /// # Errors
    /// A sentence, when the folder cannot be written.
    pub(crate) fn kubeconfig(
        &self,
        user: &str,
        group: Option<&str>,
        server: &str,
    ) -> Result<PathBuf, String> {
        let stem = user.replace(':', "-");
        let (crt, key) = (self.folder.join(format!("{stem}.crt")), self.folder.join(format!("{stem}.key")));
        let mut params = params(user, group);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(params, &crt, &key)?;
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": server, "certificate-authority": self.certificate()}}],
            "users": [{"name": user, "user": {"client-certificate": crt, "client-key": key}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": user}}],
        });
        let path = self.folder.join(format!("{stem}.kubeconfig"));
        write(&path, &config.to_string())?;
        Ok(path)
    }

    /// Writes `service-account.key` and `.pub`, which sign and check service account tokens.
    ///
    /// # Errors
    /// A sentence, when the folder cannot be written.
    pub(crate) fn service_account_keys(&self) -> Result<(PathBuf, PathBuf), String> {
        // ECDSA: the API server takes it as well as RSA, and RSA keys cannot be made without another library.
        let pair = KeyPair::generate().map_err(told)?;
        let (key, public) =
            (self.folder.join("service-account.key"), self.folder.join("service-account.pub"));
        write(&key, &pair.serialize_pem())?;
        write(&public, &pair.public_key_pem())?;
        Ok((key, public))
    }

    fn issue(&self, params: CertificateParams, crt: &Path, key: &Path) -> Result<(), String> {
        let pair = KeyPair::generate().map_err(told)?;
        let certificate: Certificate = params.signed_by(&pair, &self.issuer).map_err(told)?;
        write(crt, &certificate.pem())?;
        write(key, &pair.serialize_pem())
    }
}

fn params(name: &str, group: Option<&str>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    if let Some(group) = group {
        params.distinguished_name.push(DnType::OrganizationName, group);
    }
    params
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))
}

fn told(error: impl std::fmt::Display) -> String {
    error.to_string()
}

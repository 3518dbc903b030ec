//! Certificates, and what the API server really does.

use super::*;

#[test]
fn certificates() {
    use Level::{Fail, Skipped, Warn};
    assert_rows(&[
        (
            |f| f.serving.1 = Fetched::Absent,
            "certificate",
            Fail,
            "Secret hooks/pair has no tls.crt",
            "wait for the first replica to make it; kubectl -n hooks logs",
        ),
        (
            |f| {
                f.serving.1 = Fetched::Absent;
                f.deployment =
                    Fetched::Found(json!({"spec": {"replicas": 2, "template": {"spec": {"containers": [
            {"args": ["webhook", "--cert-dir=/tls"]}]}}}, "status": {"availableReplicas": 2}}))
            },
            "certificate",
            Fail,
            "Secret hooks/pair has no tls.crt",
            "put tls.crt and tls.key for hook.hooks.svc there",
        ),
        (
            |f| f.serving.1 = Fetched::Refused("no".into()),
            "certificate",
            Skipped,
            "cannot read tls.crt",
            "--certificate-secret",
        ),
        (
            |f| f.serving.1 = Fetched::Found("x".into()),
            "certificate",
            Fail,
            "no block BEGIN CERTIFICATE",
            "logs",
        ),
        (|f| f.now_unix += 87 * DAY, "certificate", Warn, "ends in 5 days", "logs"),
        (|f| f.now_unix += 95 * DAY, "certificate", Fail, "ended 3 days ago", "logs"),
        (|f| f.now_unix += 95 * DAY, "ca-bundle", Fail, "or its CA has ended", "cert-manager"),
        (
            |f| f.serving.1 = Fetched::Found(mk_certificate("ca", "hook.hooks.svc").1),
            "ca-bundle",
            Fail,
            "pods: its caBundle is not the CA of the serving certificate; sets: its",
            "cert-manager",
        ),
        (
            |f| f.serving.1 = Fetched::Found(mk_certificate("another", "hook.hooks.svc").1),
            "ca-bundle",
            Fail,
            "not the CA of the serving certificate",
            "cert-manager",
        ),
        (
            |f| {
                let (bundle, leaf) = mk_certificate("ca", "hook.other.svc");
                f.serving.1 = Fetched::Found(leaf);
                hook(&mut f.mutating, 0)["clientConfig"]["caBundle"] = json!(bundle);
            },
            "ca-bundle",
            Fail,
            "pods: the serving certificate is not for hook.hooks.svc",
            "cert-manager",
        ),
        (
            |f| hook(&mut f.validating, 0)["clientConfig"]["caBundle"] = Value::Null,
            "ca-bundle",
            Fail,
            "sets: it has no caBundle",
            "",
        ),
        (
            |f| hook(&mut f.mutating, 1)["clientConfig"]["caBundle"] = json!("??"),
            "ca-bundle",
            Fail,
            "no base64",
            "",
        ),
        (
            |f| hook(&mut f.mutating, 1)["clientConfig"]["caBundle"] = json!("Cg=="),
            "ca-bundle",
            Fail,
            "no block BEGIN",
            "",
        ),
        (
            |f| *at(&mut f.definition, "/spec/conversion/webhook/clientConfig/caBundle") = json!("Cg=="),
            "ca-bundle",
            Fail,
            "the definition's conversion: caBundle",
            "",
        ),
    ]);
}

#[test]
fn trials() {
    use Level::{Fail, Ok, Skipped, Warn};
    const CALL: &str = "failed calling webhook \"mpod.sidecarset.kruise.io\": failed to call webhook: ";
    fn refuse(facts: &mut Facts, status: u16, message: &str) {
        trial_of(facts).answer = Answer::Refused(status, message.to_owned());
        trial_of(facts).calls = Calls::None;
    }
    assert_rows(&[
        (
            |f| trial_of(f).calls = Calls::FailedOpen,
            "pod-trial",
            Fail,
            "let the Pod through without sidecars",
            "failurePolicy",
        ),
        (|f| trial_of(f).calls = Calls::None, "pod-trial", Warn, "did not ask", "--probe-namespace"),
        (|f| trial_of(f).calls = Calls::Unknown, "pod-trial", Ok, "needs an answer", ""),
        (
            |f| {
                trial_of(f).calls = Calls::Unknown;
                hook(&mut f.mutating, 0)["failurePolicy"] = json!("Ignore");
            },
            "pod-trial",
            Skipped,
            "proves nothing with failurePolicy Ignore",
            "/metrics",
        ),
        (
            |f| {
                trial_of(f).calls = Calls::Unknown;
                hook(&mut f.mutating, 0)["matchConditions"] = json!([{"name": "x", "expression": "true"}]);
            },
            "pod-trial",
            Skipped,
            "proves nothing with matchConditions",
            "/metrics",
        ),
        (
            |f| {
                trial_of(f).calls = Calls::None;
                trial_of(f).namespace_labels = json!({"kubernetes.io/metadata.name": "hooks"});
            },
            "pod-trial",
            Skipped,
            "the namespaceSelector exempts",
            "--probe-namespace",
        ),
        // A Pod of somebody else that the API server asked about at the same moment.
        (
            |f| {
                trial_of(f).calls = Calls::Answered;
                trial_of(f).namespace_labels = json!({"kubernetes.io/metadata.name": "hooks"});
            },
            "pod-trial",
            Skipped,
            "the namespaceSelector exempts",
            "--probe-namespace",
        ),
        (
            |f| {
                trial_of(f).calls = Calls::FailedOpen;
                trial_of(f).namespace_labels = json!({"kubernetes.io/metadata.name": "hooks"});
            },
            "pod-trial",
            Skipped,
            "the namespaceSelector exempts",
            "--probe-namespace",
        ),
        (
            |f| refuse(f, 500, &format!("{CALL}Post: x509: certificate signed by unknown authority")),
            "pod-trial",
            Fail,
            "x509",
            "ca-bundle",
        ),
        (
            |f| refuse(f, 500, &format!("{CALL}no endpoints available for service")),
            "pod-trial",
            Fail,
            "no endpoints",
            "no replica is ready",
        ),
        (
            |f| refuse(f, 500, &format!("{CALL}service \"hook\" not found")),
            "pod-trial",
            Fail,
            "not found",
            "the Service is not there",
        ),
        (
            |f| refuse(f, 500, &format!("{CALL}dial tcp: connect: connection refused")),
            "pod-trial",
            Fail,
            "refused",
            "targetPort",
        ),
        (
            |f| refuse(f, 500, &format!("{CALL}context deadline exceeded")),
            "pod-trial",
            Fail,
            "deadline",
            "firewall",
        ),
        (|f| refuse(f, 500, &format!("{CALL}something new")), "pod-trial", Fail, "something new", "logs"),
        (
            |f| refuse(f, 403, "admission webhook \"mpod.sidecarset.kruise.io\" denied the request: x"),
            "pod-trial",
            Warn,
            "denies",
            "explain",
        ),
        (
            |f| refuse(f, 403, "pods is forbidden: User \"u\" cannot create resource \"pods\""),
            "pod-trial",
            Skipped,
            "no Pod can",
            "account",
        ),
        (
            |f| refuse(f, 403, "exceeded quota"),
            "pod-trial",
            Warn,
            "something else refuses",
            "--probe-namespace",
        ),
        (
            |f| {
                f.set_trial =
                    Some(SetTrial { good: Answer::Stored(json!({})), bad: Answer::Stored(json!({})) })
            },
            "set-trial",
            Fail,
            "no hash",
            "see",
        ),
        (
            |f| f.set_trial.as_mut().expect("a trial").bad = Answer::Stored(json!({})),
            "set-trial",
            Fail,
            "without a selector is taken",
            "see",
        ),
        (
            |f| {
                f.set_trial.as_mut().expect("a trial").good =
                    Answer::Refused(500, "conversion webhook for x failed: connection refused".into())
            },
            "set-trial",
            Fail,
            "conversion webhook for x",
            "targetPort",
        ),
        (
            |f| {
                f.set_trial.as_mut().expect("a trial").good =
                    Answer::Refused(403, "cannot create resource".into())
            },
            "set-trial",
            Skipped,
            "no set can be tried",
            "account",
        ),
    ]);
}

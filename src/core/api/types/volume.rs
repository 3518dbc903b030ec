//! core/v1 Volume of Kubernetes 1.32 and what stands below it.

use super::Kind::{Bool, Int32, Int64, List, Object, Quantity, Text};
use super::{
    KEY_TO_PATH, LABEL_SELECTOR, LOCAL_OBJECT_REFERENCE, OBJECT_FIELD_SELECTOR, OBJECT_META, QUANTITY_MAP,
    RESOURCE_FIELD_SELECTOR, TEXT_MAP, TEXTS, Type, always, omit, pointer, pointer_always, types,
};

types! {
    VOLUME plain "Volume" [
        always("name", Text), pointer("hostPath", Object(&HOST_PATH_VOLUME_SOURCE)),
        pointer("emptyDir", Object(&EMPTY_DIR_VOLUME_SOURCE)),
        pointer("gcePersistentDisk", Object(&GCE_PERSISTENT_DISK_VOLUME_SOURCE)),
        pointer("awsElasticBlockStore", Object(&AWS_ELASTIC_BLOCK_STORE_VOLUME_SOURCE)),
        pointer("gitRepo", Object(&GIT_REPO_VOLUME_SOURCE)), pointer("secret", Object(&SECRET_VOLUME_SOURCE)),
        pointer("nfs", Object(&NFS_VOLUME_SOURCE)), pointer("iscsi", Object(&ISCSI_VOLUME_SOURCE)),
        pointer("glusterfs", Object(&GLUSTERFS_VOLUME_SOURCE)),
        pointer("persistentVolumeClaim", Object(&PERSISTENT_VOLUME_CLAIM_VOLUME_SOURCE)),
        pointer("rbd", Object(&RBD_VOLUME_SOURCE)), pointer("flexVolume", Object(&FLEX_VOLUME_SOURCE)),
        pointer("cinder", Object(&CINDER_VOLUME_SOURCE)), pointer("cephfs", Object(&CEPH_FS_VOLUME_SOURCE)),
        pointer("flocker", Object(&FLOCKER_VOLUME_SOURCE)),
        pointer("downwardAPI", Object(&DOWNWARD_API_VOLUME_SOURCE)), pointer("fc", Object(&FC_VOLUME_SOURCE)),
        pointer("azureFile", Object(&AZURE_FILE_VOLUME_SOURCE)),
        pointer("configMap", Object(&CONFIG_MAP_VOLUME_SOURCE)),
        pointer("vsphereVolume", Object(&VSPHERE_VIRTUAL_DISK_VOLUME_SOURCE)),
        pointer("quobyte", Object(&QUOBYTE_VOLUME_SOURCE)),
        pointer("azureDisk", Object(&AZURE_DISK_VOLUME_SOURCE)),
        pointer("photonPersistentDisk", Object(&PHOTON_PERSISTENT_DISK_VOLUME_SOURCE)),
        pointer("projected", Object(&PROJECTED_VOLUME_SOURCE)),
        pointer("portworxVolume", Object(&PORTWORX_VOLUME_SOURCE)),
        pointer("scaleIO", Object(&SCALE_IO_VOLUME_SOURCE)),
        pointer("storageos", Object(&STORAGE_OS_VOLUME_SOURCE)), pointer("csi", Object(&CSI_VOLUME_SOURCE)),
        pointer("ephemeral", Object(&EPHEMERAL_VOLUME_SOURCE)),
        pointer("image", Object(&IMAGE_VOLUME_SOURCE)),
    ]
    HOST_PATH_VOLUME_SOURCE plain "HostPathVolumeSource" [always("path", Text), pointer("type", Text)]
    EMPTY_DIR_VOLUME_SOURCE plain "EmptyDirVolumeSource" [
        omit("medium", Text), pointer("sizeLimit", Quantity),
    ]
    GCE_PERSISTENT_DISK_VOLUME_SOURCE plain "GCEPersistentDiskVolumeSource" [
        always("pdName", Text), omit("fsType", Text), omit("partition", Int32), omit("readOnly", Bool),
    ]
    AWS_ELASTIC_BLOCK_STORE_VOLUME_SOURCE plain "AWSElasticBlockStoreVolumeSource" [
        always("volumeID", Text), omit("fsType", Text), omit("partition", Int32), omit("readOnly", Bool),
    ]
    GIT_REPO_VOLUME_SOURCE plain "GitRepoVolumeSource" [
        always("repository", Text), omit("revision", Text), omit("directory", Text),
    ]
    SECRET_VOLUME_SOURCE plain "SecretVolumeSource" [
        omit("secretName", Text), omit("items", List(&Object(&KEY_TO_PATH))), pointer("defaultMode", Int32),
        pointer("optional", Bool),
    ]
    NFS_VOLUME_SOURCE plain "NFSVolumeSource" [
        always("server", Text), always("path", Text), omit("readOnly", Bool),
    ]
    ISCSI_VOLUME_SOURCE plain "ISCSIVolumeSource" [
        always("targetPortal", Text), always("iqn", Text), always("lun", Int32), omit("iscsiInterface", Text),
        omit("fsType", Text), omit("readOnly", Bool), omit("portals", TEXTS), omit("chapAuthDiscovery", Bool),
        omit("chapAuthSession", Bool), pointer("secretRef", Object(&LOCAL_OBJECT_REFERENCE)),
        pointer("initiatorName", Text),
    ]
    GLUSTERFS_VOLUME_SOURCE plain "GlusterfsVolumeSource" [
        always("endpoints", Text), always("path", Text), omit("readOnly", Bool),
    ]
    PERSISTENT_VOLUME_CLAIM_VOLUME_SOURCE plain "PersistentVolumeClaimVolumeSource" [
        always("claimName", Text), omit("readOnly", Bool),
    ]
    RBD_VOLUME_SOURCE plain "RBDVolumeSource" [
        always("monitors", TEXTS), always("image", Text), omit("fsType", Text), omit("pool", Text),
        omit("user", Text), omit("keyring", Text), pointer("secretRef", Object(&LOCAL_OBJECT_REFERENCE)),
        omit("readOnly", Bool),
    ]
    FLEX_VOLUME_SOURCE plain "FlexVolumeSource" [
        always("driver", Text), omit("fsType", Text), pointer("secretRef", Object(&LOCAL_OBJECT_REFERENCE)),
        omit("readOnly", Bool), omit("options", TEXT_MAP),
    ]
    CINDER_VOLUME_SOURCE plain "CinderVolumeSource" [
        always("volumeID", Text), omit("fsType", Text), omit("readOnly", Bool),
        pointer("secretRef", Object(&LOCAL_OBJECT_REFERENCE)),
    ]
    CEPH_FS_VOLUME_SOURCE plain "CephFSVolumeSource" [
        always("monitors", TEXTS), omit("path", Text), omit("user", Text), omit("secretFile", Text),
        pointer("secretRef", Object(&LOCAL_OBJECT_REFERENCE)), omit("readOnly", Bool),
    ]
    FLOCKER_VOLUME_SOURCE plain "FlockerVolumeSource" [omit("datasetName", Text), omit("datasetUUID", Text)]
    DOWNWARD_API_VOLUME_SOURCE plain "DownwardAPIVolumeSource" [
        omit("items", List(&Object(&DOWNWARD_API_VOLUME_FILE))), pointer("defaultMode", Int32),
    ]
    DOWNWARD_API_VOLUME_FILE plain "DownwardAPIVolumeFile" [
        always("path", Text), pointer("fieldRef", Object(&OBJECT_FIELD_SELECTOR)),
        pointer("resourceFieldRef", Object(&RESOURCE_FIELD_SELECTOR)), pointer("mode", Int32),
    ]
    FC_VOLUME_SOURCE plain "FCVolumeSource" [
        omit("targetWWNs", TEXTS), pointer("lun", Int32), omit("fsType", Text), omit("readOnly", Bool),
        omit("wwids", TEXTS),
    ]
    AZURE_FILE_VOLUME_SOURCE plain "AzureFileVolumeSource" [
        always("secretName", Text), always("shareName", Text), omit("readOnly", Bool),
    ]
    CONFIG_MAP_VOLUME_SOURCE plain "ConfigMapVolumeSource" [
        omit("name", Text), omit("items", List(&Object(&KEY_TO_PATH))), pointer("defaultMode", Int32),
        pointer("optional", Bool),
    ]
    VSPHERE_VIRTUAL_DISK_VOLUME_SOURCE plain "VsphereVirtualDiskVolumeSource" [
        always("volumePath", Text), omit("fsType", Text), omit("storagePolicyName", Text),
        omit("storagePolicyID", Text),
    ]
    QUOBYTE_VOLUME_SOURCE plain "QuobyteVolumeSource" [
        always("registry", Text), always("volume", Text), omit("readOnly", Bool), omit("user", Text),
        omit("group", Text), omit("tenant", Text),
    ]
    AZURE_DISK_VOLUME_SOURCE plain "AzureDiskVolumeSource" [
        always("diskName", Text), always("diskURI", Text), pointer("cachingMode", Text),
        pointer("fsType", Text), pointer("readOnly", Bool), pointer("kind", Text),
    ]
    PHOTON_PERSISTENT_DISK_VOLUME_SOURCE plain "PhotonPersistentDiskVolumeSource" [
        always("pdID", Text), omit("fsType", Text),
    ]
    PROJECTED_VOLUME_SOURCE plain "ProjectedVolumeSource" [
        always("sources", List(&Object(&VOLUME_PROJECTION))), pointer("defaultMode", Int32),
    ]
    VOLUME_PROJECTION plain "VolumeProjection" [
        pointer("secret", Object(&SECRET_PROJECTION)),
        pointer("downwardAPI", Object(&DOWNWARD_API_PROJECTION)),
        pointer("configMap", Object(&CONFIG_MAP_PROJECTION)),
        pointer("serviceAccountToken", Object(&SERVICE_ACCOUNT_TOKEN_PROJECTION)),
        pointer("clusterTrustBundle", Object(&CLUSTER_TRUST_BUNDLE_PROJECTION)),
    ]
    SECRET_PROJECTION plain "SecretProjection" [
        omit("name", Text), omit("items", List(&Object(&KEY_TO_PATH))), pointer("optional", Bool),
    ]
    DOWNWARD_API_PROJECTION plain "DownwardAPIProjection" [
        omit("items", List(&Object(&DOWNWARD_API_VOLUME_FILE))),
    ]
    CONFIG_MAP_PROJECTION plain "ConfigMapProjection" [
        omit("name", Text), omit("items", List(&Object(&KEY_TO_PATH))), pointer("optional", Bool),
    ]
    SERVICE_ACCOUNT_TOKEN_PROJECTION plain "ServiceAccountTokenProjection" [
        omit("audience", Text), pointer("expirationSeconds", Int64), always("path", Text),
    ]
    CLUSTER_TRUST_BUNDLE_PROJECTION plain "ClusterTrustBundleProjection" [
        pointer("name", Text), pointer("signerName", Text), pointer("labelSelector", Object(&LABEL_SELECTOR)),
        pointer("optional", Bool), always("path", Text),
    ]
    PORTWORX_VOLUME_SOURCE plain "PortworxVolumeSource" [
        always("volumeID", Text), omit("fsType", Text), omit("readOnly", Bool),
    ]
    SCALE_IO_VOLUME_SOURCE plain "ScaleIOVolumeSource" [
        always("gateway", Text), always("system", Text),
        pointer_always("secretRef", Object(&LOCAL_OBJECT_REFERENCE)), omit("sslEnabled", Bool),
        omit("protectionDomain", Text), omit("storagePool", Text), omit("storageMode", Text),
        omit("volumeName", Text), omit("fsType", Text), omit("readOnly", Bool),
    ]
    STORAGE_OS_VOLUME_SOURCE plain "StorageOSVolumeSource" [
        omit("volumeName", Text), omit("volumeNamespace", Text), omit("fsType", Text), omit("readOnly", Bool),
        pointer("secretRef", Object(&LOCAL_OBJECT_REFERENCE)),
    ]
    CSI_VOLUME_SOURCE plain "CSIVolumeSource" [
        always("driver", Text), pointer("readOnly", Bool), pointer("fsType", Text),
        omit("volumeAttributes", TEXT_MAP), pointer("nodePublishSecretRef", Object(&LOCAL_OBJECT_REFERENCE)),
    ]
    EPHEMERAL_VOLUME_SOURCE plain "EphemeralVolumeSource" [
        pointer("volumeClaimTemplate", Object(&PERSISTENT_VOLUME_CLAIM_TEMPLATE)),
    ]
    PERSISTENT_VOLUME_CLAIM_TEMPLATE plain "PersistentVolumeClaimTemplate" [
        omit("metadata", Object(&OBJECT_META)), always("spec", Object(&PERSISTENT_VOLUME_CLAIM_SPEC)),
    ]
    FIELDS_V1 plain "FieldsV1" []
    PERSISTENT_VOLUME_CLAIM_SPEC plain "PersistentVolumeClaimSpec" [
        omit("accessModes", TEXTS), pointer("selector", Object(&LABEL_SELECTOR)),
        omit("resources", Object(&VOLUME_RESOURCE_REQUIREMENTS)), omit("volumeName", Text),
        pointer("storageClassName", Text), pointer("volumeMode", Text),
        pointer("dataSource", Object(&TYPED_LOCAL_OBJECT_REFERENCE)),
        pointer("dataSourceRef", Object(&TYPED_OBJECT_REFERENCE)), pointer("volumeAttributesClassName", Text),
    ]
    VOLUME_RESOURCE_REQUIREMENTS plain "VolumeResourceRequirements" [
        omit("limits", QUANTITY_MAP), omit("requests", QUANTITY_MAP),
    ]
    TYPED_LOCAL_OBJECT_REFERENCE plain "TypedLocalObjectReference" [
        pointer_always("apiGroup", Text), always("kind", Text), always("name", Text),
    ]
    TYPED_OBJECT_REFERENCE plain "TypedObjectReference" [
        pointer_always("apiGroup", Text), always("kind", Text), always("name", Text),
        pointer("namespace", Text),
    ]
    IMAGE_VOLUME_SOURCE plain "ImageVolumeSource" [omit("reference", Text), omit("pullPolicy", Text)]
}

//! What stands below a core/v1 Container of Kubernetes 1.32.

use super::Kind::{Bool, Int32, Int64, IntOrText, List, Object, Text};
use super::{
    OBJECT_FIELD_SELECTOR, QUANTITY_MAP, RESOURCE_FIELD_SELECTOR, TEXTS, Type, always, omit, pointer,
    pointer_always, types,
};

types! {
    CONTAINER_PORT plain "ContainerPort" [
        omit("name", Text), omit("hostPort", Int32), always("containerPort", Int32), omit("protocol", Text),
        omit("hostIP", Text),
    ]
    ENV_FROM_SOURCE plain "EnvFromSource" [
        omit("prefix", Text), pointer("configMapRef", Object(&CONFIG_MAP_ENV_SOURCE)),
        pointer("secretRef", Object(&SECRET_ENV_SOURCE)),
    ]
    CONFIG_MAP_ENV_SOURCE plain "ConfigMapEnvSource" [omit("name", Text), pointer("optional", Bool)]
    SECRET_ENV_SOURCE plain "SecretEnvSource" [omit("name", Text), pointer("optional", Bool)]
    ENV_VAR plain "EnvVar" [
        always("name", Text), omit("value", Text), pointer("valueFrom", Object(&ENV_VAR_SOURCE)),
    ]
    ENV_VAR_SOURCE plain "EnvVarSource" [
        pointer("fieldRef", Object(&OBJECT_FIELD_SELECTOR)),
        pointer("resourceFieldRef", Object(&RESOURCE_FIELD_SELECTOR)),
        pointer("configMapKeyRef", Object(&CONFIG_MAP_KEY_SELECTOR)),
        pointer("secretKeyRef", Object(&SECRET_KEY_SELECTOR)),
    ]
    CONFIG_MAP_KEY_SELECTOR plain "ConfigMapKeySelector" [
        omit("name", Text), always("key", Text), pointer("optional", Bool),
    ]
    SECRET_KEY_SELECTOR plain "SecretKeySelector" [
        omit("name", Text), always("key", Text), pointer("optional", Bool),
    ]
    RESOURCE_REQUIREMENTS plain "ResourceRequirements" [
        omit("limits", QUANTITY_MAP), omit("requests", QUANTITY_MAP),
        omit("claims", List(&Object(&RESOURCE_CLAIM))),
    ]
    RESOURCE_CLAIM plain "ResourceClaim" [always("name", Text), omit("request", Text)]
    CONTAINER_RESIZE_POLICY plain "ContainerResizePolicy" [
        always("resourceName", Text), always("restartPolicy", Text),
    ]
    VOLUME_MOUNT plain "VolumeMount" [
        always("name", Text), omit("readOnly", Bool), pointer("recursiveReadOnly", Text),
        always("mountPath", Text), omit("subPath", Text), pointer("mountPropagation", Text),
        omit("subPathExpr", Text),
    ]
    VOLUME_DEVICE plain "VolumeDevice" [always("name", Text), always("devicePath", Text)]
    PROBE plain "Probe" [
        pointer("exec", Object(&EXEC_ACTION)), pointer("httpGet", Object(&HTTP_GET_ACTION)),
        pointer("tcpSocket", Object(&TCP_SOCKET_ACTION)), pointer("grpc", Object(&GRPC_ACTION)),
        omit("initialDelaySeconds", Int32), omit("timeoutSeconds", Int32), omit("periodSeconds", Int32),
        omit("successThreshold", Int32), omit("failureThreshold", Int32),
        pointer("terminationGracePeriodSeconds", Int64),
    ]
    EXEC_ACTION plain "ExecAction" [omit("command", TEXTS)]
    HTTP_GET_ACTION plain "HTTPGetAction" [
        omit("path", Text), always("port", IntOrText), omit("host", Text), omit("scheme", Text),
        omit("httpHeaders", List(&Object(&HTTP_HEADER))),
    ]
    HTTP_HEADER plain "HTTPHeader" [always("name", Text), always("value", Text)]
    TCP_SOCKET_ACTION plain "TCPSocketAction" [always("port", IntOrText), omit("host", Text)]
    GRPC_ACTION plain "GRPCAction" [always("port", Int32), pointer_always("service", Text)]
    LIFECYCLE plain "Lifecycle" [
        pointer("postStart", Object(&LIFECYCLE_HANDLER)), pointer("preStop", Object(&LIFECYCLE_HANDLER)),
    ]
    LIFECYCLE_HANDLER plain "LifecycleHandler" [
        pointer("exec", Object(&EXEC_ACTION)), pointer("httpGet", Object(&HTTP_GET_ACTION)),
        pointer("tcpSocket", Object(&TCP_SOCKET_ACTION)), pointer("sleep", Object(&SLEEP_ACTION)),
    ]
    SLEEP_ACTION plain "SleepAction" [always("seconds", Int64)]
    SECURITY_CONTEXT plain "SecurityContext" [
        pointer("capabilities", Object(&CAPABILITIES)), pointer("privileged", Bool),
        pointer("seLinuxOptions", Object(&SE_LINUX_OPTIONS)),
        pointer("windowsOptions", Object(&WINDOWS_SECURITY_CONTEXT_OPTIONS)), pointer("runAsUser", Int64),
        pointer("runAsGroup", Int64), pointer("runAsNonRoot", Bool), pointer("readOnlyRootFilesystem", Bool),
        pointer("allowPrivilegeEscalation", Bool), pointer("procMount", Text),
        pointer("seccompProfile", Object(&SECCOMP_PROFILE)),
        pointer("appArmorProfile", Object(&APP_ARMOR_PROFILE)),
    ]
    CAPABILITIES plain "Capabilities" [omit("add", TEXTS), omit("drop", TEXTS)]
    SE_LINUX_OPTIONS plain "SELinuxOptions" [
        omit("user", Text), omit("role", Text), omit("type", Text), omit("level", Text),
    ]
    WINDOWS_SECURITY_CONTEXT_OPTIONS plain "WindowsSecurityContextOptions" [
        pointer("gmsaCredentialSpecName", Text), pointer("gmsaCredentialSpec", Text),
        pointer("runAsUserName", Text), pointer("hostProcess", Bool),
    ]
    SECCOMP_PROFILE plain "SeccompProfile" [always("type", Text), pointer("localhostProfile", Text)]
    APP_ARMOR_PROFILE plain "AppArmorProfile" [always("type", Text), pointer("localhostProfile", Text)]
}

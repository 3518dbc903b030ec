//! Rows of the specification that no record shows.

use serde_json::{Value, json};

use super::{completed, findings, with_container, with_init_container, with_volumes};

/// Asserts the findings about one volume; `v` stands for `spec.volumes[0]`.
fn assert_volume(source: &Value, expected: &[&str]) {
    let mut volume = json!({"name": "v"});
    volume.as_object_mut().unwrap().extend(source.as_object().unwrap().clone());
    let found = findings(&with_volumes(&json!([volume])));
    let found: Vec<_> = found.iter().map(|line| line.replace("spec.volumes[0]", "v")).collect();
    assert_eq!(found, expected, "{source}");
}

#[test]
fn volumes_beyond_the_recording() {
    assert_volume(&json!({"name": "-"}), &["v Required", "v.name Invalid"]);
    assert_volume(
        &json!({"hostPath": {"path": "/a/../b", "type": "Pipe"}}),
        &["v.hostPath.path Invalid", "v.hostPath.type NotSupported"],
    );
    assert_volume(
        &json!({"nfs": {}}),
        &["v.nfs.path Invalid", "v.nfs.path Required", "v.nfs.server Required"],
    );
    let both = json!({"path": "f", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.uid"}, "resourceFieldRef": {}});
    assert_volume(&json!({"downwardAPI": {"items": [both]}}), &["v.downwardAPI Invalid"]);
    let mode =
        json!({"path": "f", "mode": 512, "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.uid"}});
    assert_volume(&json!({"downwardAPI": {"items": [mode]}}), &["v.downwardAPI.mode Invalid"]);
    let driver = "d".repeat(64);
    assert_volume(&json!({"csi": {"driver": driver}}), &["v.csi.driver TooLong"]);
    assert_volume(
        &json!({"csi": {"driver": "d", "nodePublishSecretRef": {"name": "A"}}}),
        &["v.csi.name Invalid"],
    );
    assert_volume(&json!({"quobyte": {"registry": "a:1,b", "volume": "w"}}), &["v.quobyte.registry Invalid"]);
    assert_volume(&json!({"quobyte": {"registry": "[::1]:1", "volume": "w"}}), &[]);
    let tenant = "t".repeat(65);
    assert_volume(
        &json!({"quobyte": {"registry": "a:1", "volume": "w", "tenant": tenant}}),
        &["v.quobyte.tenant Required"],
    );
    assert_volume(&json!({"flocker": {"datasetName": "a/b"}}), &["v.flocker.datasetName Invalid"]);
    assert_volume(
        &json!({"fc": {"targetWWNs": ["a"], "wwids": ["b"], "lun": 256}}),
        &["v.fc.lun Invalid", "v.fc.targetWWNs Invalid"],
    );
    let iscsi = json!({"targetPortal": "p".repeat(62), "iqn": "iqn.2001-04.a:b", "initiatorName": "eui.0123456789abcdef"});
    assert_volume(&json!({"iscsi": iscsi}), &[]);
    let iscsi = json!({
        "targetPortal": "p".repeat(63), "iqn": "eui.1", "initiatorName": "", "chapAuthDiscovery": true, "lun": 256,
    });
    assert_volume(
        &json!({"iscsi": iscsi}),
        &[
            "v.iscsi.initiatorname Invalid",
            "v.iscsi.iqn Invalid",
            "v.iscsi.lun Invalid",
            "v.iscsi.secretRef Required",
            "v.name Invalid",
        ],
    );
    assert_volume(&json!({"iscsi": {"targetPortal": "p", "iqn": "iqnxiqn.2001-04.a:b"}}), &[]);
    assert_volume(
        &json!({"cinder": {"volumeID": "v", "secretRef": {}}}),
        &["v.cinder.secretRef.name Required"],
    );
    assert_volume(
        &json!({"flexVolume": {"driver": "d", "options": {"K8s.io": "", "ak8s.io": ""}}}),
        &["v.flexVolume.options[K8s.io] Invalid"],
    );
}

#[test]
fn projected_volumes_beyond_the_recording() {
    let sources = |sources: Value| json!({"projected": {"sources": sources}});
    let bundle = |bundle: Value| sources(json!([{"clusterTrustBundle": bundle}]));
    let at = |name: &str| format!("v.projected.sources[0].clusterTrustBundle{name}");
    assert_volume(&bundle(json!({"name": "n", "signerName": "a.b/c", "path": "p"})), &[&at(" Invalid")]);
    assert_volume(&bundle(json!({"name": "", "path": "p"})), &[&at(".name Invalid"), &at(".name Required")]);
    assert_volume(&bundle(json!({"name": "a.b:c:n", "path": ""})), &[&at(".path Required")]);
    assert_volume(
        &bundle(json!({"name": "n", "labelSelector": {"matchLabels": {"-": "-"}}, "path": "p"})),
        &[&at(".labelSelector Invalid")],
    );
    let selector = json!({"matchExpressions": [
        {"key": "a", "operator": "In"},
        {"key": "", "operator": "Exists", "values": ["-"]},
        {"key": "a", "operator": "in", "values": ["b"]},
    ]});
    let of = |place: &str| at(&format!(".labelSelector.matchExpressions{place}"));
    assert_volume(
        &bundle(json!({"signerName": "a/c", "labelSelector": selector, "path": "..p"})),
        &[
            &of("[0].values Required"),
            &of("[1].key Invalid"),
            &of("[1].values Forbidden"),
            &of("[1].values[0] Invalid"),
            &of("[2].operator Invalid"),
            &at(".path Invalid"),
            &at(".signerName Invalid"),
        ],
    );
    let token = json!({"serviceAccountToken": {"expirationSeconds": 600, "path": "/t"}});
    assert_volume(&sources(json!([token])), &["v.projected.path Invalid"]);
    let secret = json!({"secret": {"name": "s", "items": [{"key": "k", "path": "p"}]}});
    let bundle = json!({"clusterTrustBundle": {"name": "n", "path": "p"}});
    assert_volume(&sources(json!([secret, bundle])), &["v.projected Invalid"]);
}

#[test]
fn claim_templates_beyond_the_recording() {
    let at = |name: &str| format!("v.ephemeral.volumeClaimTemplate.{name}");
    let assert = |metadata: Value, more: Value, expected: &[&str]| {
        let mut spec =
            json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let expected: Vec<_> = expected.iter().map(|name| at(name)).collect();
        let expected: Vec<_> = expected.iter().map(String::as_str).collect();
        assert_volume(
            &json!({"ephemeral": {"volumeClaimTemplate": {"metadata": metadata, "spec": spec}}}),
            &expected,
        );
    };
    assert(
        json!({"labels": {"a b": "-"}, "annotations": {"a b": "-"}}),
        json!({}),
        &["metadata.annotations Invalid", "metadata.labels Invalid"],
    );
    assert(json!({"annotations": {"a": "x".repeat(262_144)}}), json!({}), &["metadata.annotations TooLong"]);
    assert(
        json!({"name": "", "finalizers": [], "generateName": "g"}),
        json!({}),
        &["metadata.generateName Forbidden"],
    );
    assert(
        json!({}),
        json!({"accessModes": ["ReadWriteOncePod", "Any"]}),
        &["spec.accessModes Forbidden", "spec.accessModes NotSupported"],
    );
    assert(json!({}), json!({"storageClassName": "A"}), &["spec.storageClassName Invalid"]);
    assert(
        json!({}),
        json!({"resources": {"requests": {"storage": "0"}}}),
        &["spec.resources[storage] Invalid"],
    );
    let claim = json!({"kind": "PersistentVolumeClaim", "name": "p"});
    let other = json!({"kind": "PersistentVolumeClaim", "name": "q"});
    assert(json!({}), json!({"dataSource": claim, "dataSourceRef": claim}), &[]);
    assert(json!({}), json!({"dataSource": claim, "dataSourceRef": other}), &["spec Invalid"]);
    assert(
        json!({}),
        json!({"dataSource": {"kind": "K"}}),
        &["spec.dataSource Invalid", "spec.dataSource.name Required"],
    );
}

/// Asserts the findings about one container; `c` stands for `spec.containers[0]`.
fn assert_container(members: Value, expected: &[&str]) {
    let found = findings(&with_container(&members));
    let found: Vec<_> = found.iter().map(|line| line.replace("spec.containers[0]", "c")).collect();
    assert_eq!(found, expected, "{members}");
}

#[test]
fn containers_beyond_the_recording() {
    assert_container(
        json!({"terminationMessagePolicy": "Console"}),
        &["c.terminationMessagePolicy NotSupported"],
    );
    assert_container(
        json!({"ports": [{"containerPort": 1, "protocol": "tcp"}]}),
        &["c.ports[0].protocol NotSupported"],
    );
    let variable = |source: Value| json!({"env": [{"name": "A", "value": "x", "valueFrom": source}]});
    let field = json!({"apiVersion": "v1", "fieldPath": "metadata.name"});
    assert_container(variable(json!({"fieldRef": field})), &["c.env[0].valueFrom Invalid"]);
    let variable = |source: Value| json!({"env": [{"name": "A", "valueFrom": source}]});
    assert_container(
        variable(json!({"fieldRef": field, "secretKeyRef": {"name": "s", "key": "k"}})),
        &["c.env[0].valueFrom Invalid"],
    );
    for (path, expected) in [
        ("metadata.annotations['A.B/c']", None),
        ("metadata.annotations", Some(".fieldPath NotSupported")),
        ("metadata.annotations['a b']", Some(" Invalid")),
        ("metadata.name['a']", Some(".fieldPath Invalid")),
        ("['a']", Some(".fieldPath Invalid")),
        ("status.phase", Some(".fieldPath NotSupported")),
    ] {
        let reference = json!({"fieldRef": {"apiVersion": "v1", "fieldPath": path}});
        let expected = expected.map(|end| format!("c.env[0].valueFrom.fieldRef{end}"));
        assert_container(variable(reference), &expected.as_deref().into_iter().collect::<Vec<_>>());
    }
    for (divisor, good) in [("1000m", true), ("0.001", true), ("1k", false)] {
        let reference = json!({"resourceFieldRef": {"resource": "requests.cpu", "divisor": divisor}});
        let expected: &[_] =
            if good { &[] } else { &["c.env[0].valueFrom.resourceFieldRef.divisor Invalid"] };
        assert_container(variable(reference), expected);
    }
    let both = json!({"configMapRef": {"name": "a"}, "secretRef": {"name": "b"}});
    assert_container(json!({"envFrom": [both]}), &["c.envFrom Invalid"]);
    assert_container(
        json!({"resizePolicy": [{"resourceName": "disk", "restartPolicy": "NotRequired"}]}),
        &["c.resizePolicy NotSupported"],
    );
}

#[test]
fn resources_beyond_the_recording() {
    let assert =
        |resources: Value, expected: &[&str]| assert_container(json!({"resources": resources}), expected);
    assert(json!({"limits": {"requests.a.b/c": "1"}}), &["c.resources.limits[requests.a.b/c] Invalid"]);
    let domain = format!("{}.io/x", "d".repeat(245));
    assert(json!({"limits": {&domain: "1"}}), &[&format!("c.resources.limits[{domain}] Invalid")]);
    assert(json!({"requests": {"kubernetes.io/x": "500m"}}), &[]);
    assert(
        json!({"requests": {"cpu": 1, "hugepages-2Mi": "2Mi"}, "limits": {"hugepages-2Mi": "4Mi"}}),
        &["c.resources.requests Invalid"],
    );
    assert(json!({"requests": {"cpu": 1, "hugepages-2Mi": "2Mi"}}), &["c.resources.limits Required"]);
    assert(json!({"requests": {"cpu": "1.5"}, "limits": {"cpu": "1500m"}}), &[]);
    assert(
        json!({"claims": [{"name": "a", "request": "b"}, {"name": "a", "request": "-"}]}),
        &[
            "c.resources.claims[0] NotFound",
            "c.resources.claims[1] NotFound",
            "c.resources.claims[1].request Invalid",
        ],
    );
}

#[test]
fn security_contexts_beyond_the_recording() {
    let assert = |context: Value, expected: &[&str]| {
        let expected: Vec<_> = expected.iter().map(|end| format!("c.securityContext{end}")).collect();
        let expected: Vec<_> = expected.iter().map(String::as_str).collect();
        assert_container(json!({"securityContext": context}), &expected);
    };
    assert(json!({"procMount": "Unmasked"}), &[".procMount Invalid"]);
    assert(json!({"seccompProfile": {"type": "Any"}}), &[".seccompProfile.type NotSupported"]);
    let profile = json!({"type": "Unconfined", "localhostProfile": "p"});
    let paths = [".appArmorProfile.localhostProfile Invalid", ".seccompProfile.localhostProfile Invalid"];
    assert(json!({"seccompProfile": profile, "appArmorProfile": profile}), &paths);
    let long = json!({"type": "Localhost", "localhostProfile": "p".repeat(4096)});
    assert(json!({"appArmorProfile": long}), &[".appArmorProfile.localhostProfile TooLong"]);
    let capabilities = json!({"add": ["CAP_SYS_ADMIN"]});
    assert(json!({"allowPrivilegeEscalation": false, "capabilities": capabilities}), &[" Invalid"]);
    let spec = "s".repeat(65_537);
    assert(
        json!({"windowsOptions": {"gmsaCredentialSpec": spec}}),
        &[".windowsOptions.gmsaCredentialSpec Invalid"],
    );
    let users = ["a\u{1}", "..", "d\\", ".d\\u", "a-.b.c.d.e.f.g.h\\u@v", "d:e\\u"];
    for user in users.into_iter().chain([&*"u".repeat(105), &*format!("{}-\\u", "d".repeat(16))]) {
        assert(
            json!({"windowsOptions": {"runAsUserName": user}}),
            &[".windowsOptions.runAsUserName Invalid"],
        );
    }
    for user in ["u.", "long-domain.example.com\\u", "d_e f\\u"] {
        assert(json!({"windowsOptions": {"runAsUserName": user}}), &[]);
    }
}

#[test]
fn mounts_beyond_the_recording() {
    let assert = |members: Value, expected: &[&str]| {
        let mut spec = with_container(&members);
        spec["volumes"] = json!([
            {"name": "v", "emptyDir": {}},
            {"name": "pvc", "persistentVolumeClaim": {"claimName": "c"}},
        ]);
        let found = findings(&spec);
        let found: Vec<_> = found.iter().map(|line| line.replace("spec.containers[0].", "")).collect();
        assert_eq!(found, expected, "{members}");
    };
    let twice = json!([{"name": "v", "mountPath": "/m"}, {"name": "v", "mountPath": "/m"}]);
    assert(json!({"volumeMounts": twice}), &["volumeMounts[1].mountPath Invalid"]);
    assert(
        json!({"volumeMounts": [{"name": "", "mountPath": ""}]}),
        &[
            "volumeMounts[0].mountPath Required",
            "volumeMounts[0].name NotFound",
            "volumeMounts[0].name Required",
        ],
    );
    let recursive = json!([{"name": "v", "mountPath": "/m", "recursiveReadOnly": "IfPossible", "mountPropagation": "HostToContainer"}]);
    assert(json!({"volumeMounts": recursive}), &["volumeMounts.recursiveReadOnly Forbidden"]);
    let twice = json!([{"name": "pvc", "devicePath": "/d"}, {"name": "pvc", "devicePath": "/d"}]);
    assert(
        json!({"volumeDevices": twice}),
        &["volumeDevices[1].devicePath Invalid", "volumeDevices[1].name Invalid"],
    );
    assert(
        json!({"volumeDevices": [{"name": "pvc", "devicePath": "/d/../e"}]}),
        &["volumeDevices[0].devicePath Invalid"],
    );
    assert(
        json!({"volumeDevices": [{"name": "pvc", "devicePath": "/x"}], "volumeMounts": [{"name": "v", "mountPath": "/x"}]}),
        &["volumeDevices[0].devicePath Invalid", "volumeMounts[0].mountPath Invalid"],
    );
}

#[test]
fn init_containers_beyond_the_recording() {
    let port = json!([{"containerPort": 1, "hostPort": 5, "protocol": "TCP"}, {"containerPort": 2, "hostPort": 5, "protocol": "TCP"}]);
    let spec =
        json!({"initContainers": [completed("a", &json!({})), completed("b", &json!({"ports": port}))]});
    assert_eq!(findings(&spec), ["spec.initContainers[0].ports[1].hostPort Duplicate"]);
    assert_eq!(
        findings(&with_init_container(&json!({"restartPolicy": ""}))),
        ["spec.initContainers[0].restartPolicy NotSupported"]
    );
    let host_process = json!({"securityContext": {"windowsOptions": {"hostProcess": true}}});
    assert_eq!(findings(&with_init_container(&host_process)), ["spec Invalid", "spec.hostNetwork Invalid"]);
}

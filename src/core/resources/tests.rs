//! The table of section 15.3 of specification 20, and all recorded answers about expressions and target patterns.

use serde_json::json;

use super::*;

/// Name, limits (cpu, memory), requests (cpu, memory); `-` is absent.
type Row<'a> = (&'a str, [&'a str; 4]);

fn mk_target<'a>((name, values): &Row<'a>) -> Target<'a> {
    let [cpu_limit, memory_limit, cpu_request, memory_request] =
        values.map(|text| (text != "-").then_some(text));
    Target {
        name,
        limits: Amounts { cpu: cpu_limit, memory: memory_limit },
        requests: Amounts { cpu: cpu_request, memory: memory_request },
    }
}

fn mk_policy(mode: &str, regex: &str, expressions: [&str; 4]) -> ResourcesPolicy {
    let [cpu_limit, memory_limit, cpu_request, memory_request] = expressions;
    ResourcesPolicy::compile(&json!({
        "targetContainersMode": mode,
        "targetContainersNameRegex": regex,
        "resourcesExpr": {
            "limits": {"cpu": cpu_limit, "memory": memory_limit},
            "requests": {"cpu": cpu_request, "memory": memory_request},
        },
    }))
}

fn texts(resources: &Resources) -> [&str; 4] {
    let Resources { cpu_limit, memory_limit, cpu_request, memory_request, notes: _ } = resources;
    [cpu_limit, memory_limit, cpu_request, memory_request].map(|text| text.as_deref().unwrap_or("-"))
}

/// Rows 15 and 16 leave out what the caller excludes (I-RES-1, I-RES-2), and so are the same here.
#[test]
fn i_t_res() {
    let half = ["max(cpu*50%, 50m)", "200Mi", "max(cpu*50%, 50m)", "100Mi"];
    let parts = ["max(cpu*30%, 50m)", "max(memory*25%, 100Mi)", "cpu*20%", "memory*15%"];
    let plus = ["cpu*50% + 100m", "max(memory*20% + 100Mi, 200Mi)", "cpu*30% + 50m", "memory*15% + 50Mi"];
    let small = ["200m", "200Mi", "50m", "100Mi"];
    let large = ["400m", "400Mi", "100m", "200Mi"];
    let medium = ["200m", "200Mi", "100m", "100Mi"];
    let engines = [("large.engine.v4", small), ("large.engine.v8", large)];
    let dashed = [("large-engine-v4", small), ("large-engine-v8", large)];
    let big = [("app1", ["400m", "800Mi", "200m", "400Mi"]), ("app2", ["600m", "1200Mi", "300m", "600Mi"])];
    type Case<'a> = (u32, Vec<Row<'a>>, &'a str, &'a str, [&'a str; 4], [&'a str; 4]);
    let cases: [Case<'_>; 16] = [
        (
            1,
            vec![("app1", small), ("app2", large)],
            "sum",
            ".*",
            ["cpu*50%", "200Mi", "cpu*50%", "100Mi"],
            ["300m", "200Mi", "75m", "100Mi"],
        ),
        (2, engines.to_vec(), "max", "^large.engine.v.*$", half, ["200m", "200Mi", "50m", "100Mi"]),
        (3, engines.to_vec(), "sum", "^large.engine.v4$", half, ["100m", "200Mi", "50m", "100Mi"]),
        (
            5,
            vec![("app1", medium), ("app2", ["-", "400Mi", "50m", "200Mi"])],
            "sum",
            ".*",
            ["cpu*50%", "memory*30%", "cpu*30%", "memory*20%"],
            ["-", "180Mi", "45m", "60Mi"],
        ),
        (
            6,
            vec![("app1", medium), ("app2", ["400m", "-", "200m", "-"])],
            "max",
            ".*",
            ["cpu*40%", "memory*30%", "cpu*25%", "memory*20%"],
            ["160m", "-", "50m", "20Mi"],
        ),
        (
            7,
            vec![("app1", medium), ("app2", ["400m", "400Mi", "-", "-"])],
            "sum",
            ".*",
            ["cpu*50%", "memory*30%", "cpu*30%", "memory*20%"],
            ["300m", "180Mi", "30m", "20Mi"],
        ),
        (8, big.to_vec(), "sum", "^app.*$", parts, ["300m", "500Mi", "100m", "150Mi"]),
        (
            9,
            vec![("large-engine-v4", small), ("large-engine-v8", small)],
            "sum",
            "^large-engine-v4$",
            half,
            ["100m", "200Mi", "50m", "100Mi"],
        ),
        (10, dashed.to_vec(), "sum", "^large-engine-v.*$", half, ["300m", "200Mi", "75m", "100Mi"]),
        (11, dashed.to_vec(), "max", "^large-engine-v.*$", half, ["200m", "200Mi", "50m", "100Mi"]),
        (
            12,
            vec![("v4", small), ("v8", ["-", "400Mi", "100m", "200Mi"])],
            "max",
            "^v.*$",
            half,
            ["-", "200Mi", "50m", "100Mi"],
        ),
        (
            13,
            vec![("app1", ["200m", "400Mi", "100m", "200Mi"]), ("app2", ["400m", "600Mi", "200m", "300Mi"])],
            "sum",
            ".*",
            plus,
            ["400m", "300Mi", "140m", "125Mi"],
        ),
        (14, big.to_vec(), "sum", "^app.*$", parts, ["300m", "500Mi", "100m", "150Mi"]),
        (
            15,
            vec![("app1", medium)],
            "sum",
            ".*",
            ["cpu*50%", "memory*50%", "cpu*40%", "memory*40%"],
            ["100m", "100Mi", "40m", "40Mi"],
        ),
        (
            17,
            vec![("app1", ["200m", "-", "-", "-"])],
            "sum",
            ".*",
            ["", "200Mi", "", ""],
            ["-", "-", "-", "-"],
        ),
        (
            18,
            vec![("app1", ["200m", "-", "-", "-"])],
            "sum",
            "",
            ["", "", "cpu*50%", ""],
            ["-", "-", "0", "-"],
        ),
    ];
    for (row, containers, mode, regex, expressions, expected) in cases {
        let targets: Vec<_> = containers.iter().map(mk_target).collect();
        let resources = mk_policy(mode, regex, expressions).resolve(&targets).expect("a row with a result");
        assert_eq!(texts(&resources), expected, "I-T-RES {row}");
    }
}

#[test]
fn i_res_3_and_4_name_the_pattern() {
    let targets = [mk_target(&("app1", ["200m", "-", "-", "-"]))];
    let error = |regex: &str| {
        let policy = mk_policy("sum", regex, ["cpu*50%", "", "", ""]);
        policy.resolve(&targets).expect_err("a pattern without targets").to_string()
    };
    // I-T-RES 4
    assert_eq!(error("^nonexistent$"), "no containers match the regex pattern \"^nonexistent$\"");
    assert_eq!(error("APP"), "no containers match the regex pattern \"APP\"");
    assert_eq!(error("("), "failed to get target containers: invalid regex pattern \"(\": unclosed group");
    let nothing = ResourcesPolicy::compile(&Json::Null);
    assert_eq!(nothing.resolve(&[]), Err(ResourcesError::NoTarget { pattern: String::new() }));
    assert_eq!(nothing.resolve(&targets), Ok(Resources::default()));
}

#[test]
fn i_res_15_the_first_error_wins_and_names_its_field() {
    let targets = [mk_target(&("app1", ["1", "1Gi", "1", "1Gi"]))];
    let error = |expressions: [&str; 4]| {
        mk_policy("sum", ".*", expressions).resolve(&targets).expect_err("a bad expression").to_string()
    };
    let bad = ["cpu*cpu", "1/0", "foo", "-1"];
    for (first, expected) in [
        "failed to evaluate CPU limits expression: failed to parse expression \"cpu*cpu\": multiplication of two quantities",
        "failed to evaluate memory limits expression: failed to parse expression \"1/0\": division by zero",
        "failed to evaluate CPU requests expression: failed to parse expression \"foo\": undefined variable: foo",
        "failed to evaluate memory requests expression: failed to parse expression \"-1\": calculation result is negative: -1",
    ]
    .into_iter()
    .enumerate()
    {
        let mut expressions = bad;
        expressions.iter_mut().take(first).for_each(|expression| *expression = "1");
        assert_eq!(error(expressions), expected);
    }
}

/// Rules: I-RES-16, A-EXPR-21.
#[test]
fn i_res_16_the_variable_is_called_after_the_text() {
    let targets = [mk_target(&("app1", ["2", "1Gi", "-", "-"]))];
    for (text, expected) in [
        ("memory*2", Ok("4")),
        ("(memory)*2", Ok("4")),
        ("CPU*2", Ok("4")),
        ("memory + cpu", Err("undefined variable: cpu")),
        ("MEMORY", Err("undefined variable: memory")),
        ("xmemory", Err("undefined variable: xmemory")),
        ("memory_1 + cpu", Err("undefined variable: memory_1")),
        ("cpu*2memory", Ok("0")),
    ] {
        let result = mk_policy("sum", "", [text, "", "", ""]).resolve(&targets);
        match (result, expected) {
            (Ok(resources), Ok(expected)) => {
                assert_eq!(texts(&resources), [expected, "-", "-", "-"], "{text}")
            }
            (Err(error), Err(expected)) => assert!(error.to_string().ends_with(expected), "{text}: {error}"),
            (result, _) => panic!("{text}: {result:?}"),
        }
    }
}

#[test]
fn i_def_17_and_20_leave_notes() {
    let targets = [mk_target(&("app1", ["1", "-", "1", "1"]))];
    let resources =
        mk_policy("max", "", ["200MB", "200Mi", "cpu", "5 + 1e"]).resolve(&targets).expect("a result");
    assert_eq!(texts(&resources), ["0", "-", "1", "5"]);
    let notes: Vec<_> = resources.notes.iter().map(ToString::to_string).collect();
    assert_eq!(
        notes,
        [
            "resourcesPolicy: in limits.cpu \"200MB\", \"200MB\" is no number and counts as 0; units are m k M G T P Ki Mi Gi Ti Pi",
            "resourcesPolicy: limits.memory \"200Mi\" is not set, because a target container has no limits.memory",
            "resourcesPolicy: in requests.memory \"5 + 1e\", \"1e\" is no number and counts as 0; units are m k M G T P Ki Mi Gi Ti Pi",
        ]
    );
}

#[test]
fn a_target_with_a_malformed_quantity_is_an_error_only_where_it_counts() {
    let targets = [mk_target(&("app1", ["x", "1Gi", "-", "-"]))];
    let error = mk_policy("sum", "", ["cpu", "", "", ""]).resolve(&targets).expect_err("x is no quantity");
    assert!(error.to_string().starts_with("container \"app1\": resources.limits.cpu: \"x\" is no quantity"));
    let resources =
        mk_policy("sum", "", ["", "memory", "", ""]).resolve(&targets).expect("cpu is not asked for");
    assert_eq!(texts(&resources), ["-", "1Gi", "-", "-"]);
}

mod recorded {
    //! Worlds of `tests/conformance/injection` in which one policy a request is all that matters.

    use super::*;

    const WORLDS: [&str; 6] = ["o-expr-", "expr_", "res_misc", "t_agg", "t_res", "regexes"];

    fn containers<'a>(spec: &'a Json, list: &str) -> impl Iterator<Item = &'a Json> {
        spec["spec"][list].as_array().into_iter().flatten()
    }

    fn is_native(container: &Json) -> bool {
        container["restartPolicy"] == "Always"
    }

    fn mk_candidate(container: &Json) -> Target<'_> {
        let amounts = |part: &str| Amounts {
            cpu: container["resources"][part]["cpu"].as_str(),
            memory: container["resources"][part]["memory"].as_str(),
        };
        Target {
            name: container["name"].as_str().unwrap_or_default(),
            limits: amounts("limits"),
            requests: amounts("requests"),
        }
    }

    /// The injected container: of a hot pair (I-HOT-2) the first.
    fn find<'a>(pod: &'a Json, name: &str) -> &'a Json {
        let mut all = containers(pod, "initContainers").chain(containers(pod, "containers"));
        let hot = format!("{name}-1");
        all.find(|container| container["name"] == *name || container["name"] == *hot).unwrap_or(&Json::Null)
    }

    fn labels_match(set: &Json, pod: &Json) -> bool {
        set["spec"]["selector"]["matchLabels"]
            .as_object()
            .is_some_and(|labels| labels.iter().all(|(key, value)| pod["metadata"]["labels"][key] == *value))
    }

    /// Checks one request; `None` if more than one policy is involved.
    fn check(world: &Json, request: &Json) -> Option<()> {
        let pod = &request["object"];
        let sets: Vec<_> =
            world["sidecarSets"].as_array()?.iter().filter(|set| labels_match(set, pod)).collect();
        let sidecars: Vec<_> = sets
            .iter()
            .flat_map(|set| containers(set, "initContainers").chain(containers(set, "containers")))
            .collect();
        let mut with_policy = sidecars.iter().filter(|sidecar| sidecar["resourcesPolicy"].is_object());
        let sidecar = with_policy.next()?;
        if with_policy.next().is_some() || !request["deviation"].is_null() {
            return None;
        }
        let own = |container: &&Json| sidecars.iter().all(|sidecar| sidecar["name"] != container["name"]);
        let candidates: Vec<_> = containers(pod, "initContainers")
            .filter(|container| is_native(container))
            .chain(containers(pod, "containers"))
            .filter(own)
            .map(mk_candidate)
            .collect();
        let name = format!("{} {}", world["world"], request["name"]);
        match ResourcesPolicy::compile(&sidecar["resourcesPolicy"]).resolve(&candidates) {
            Ok(resources) => {
                let expected =
                    &find(&request["upstream"]["document"], sidecar["name"].as_str()?)["resources"];
                let text = |field: Field| {
                    let [part, resource] = field.path();
                    expected[part][resource].as_str().unwrap_or("-")
                };
                assert_eq!(texts(&resources), Field::ALL.map(text), "{name}");
            }
            Err(error) => {
                let expected = request["upstream"]["message"].as_str().unwrap_or("allowed");
                // Go's regex engine words its findings otherwise (I-OPEN-5), and `%q` shows half a character otherwise.
                if !expected.contains("invalid regex pattern") && !expected.contains('\u{fffd}') {
                    assert_eq!(error.to_string(), expected, "{name}");
                }
                assert_eq!(request["upstream"]["allowed"], false, "{name}");
            }
        }
        Some(())
    }

    #[test]
    fn answers_of_upstream() {
        let files = [
            include_str!("../../../tests/conformance/injection/fuzz.jsonl"),
            include_str!("../../../tests/conformance/injection/hand.jsonl"),
        ];
        let mut checked = 0;
        for line in files.iter().flat_map(|file| file.lines()) {
            let world: Json = serde_json::from_str(line).expect("a recorded world");
            let name = world["world"].as_str().unwrap_or_default();
            if WORLDS.iter().any(|prefix| name.starts_with(prefix)) {
                let requests = world["requests"].as_array().into_iter().flatten();
                checked += requests.filter_map(|request| check(&world, request)).count();
            }
        }
        assert!(checked > 350, "only {checked} recorded requests were found");
    }
}

"""What is sent to Kubernetes: by the published schemas, and by what pods would see of it."""

from __future__ import annotations

import copy
import re
from dataclasses import replace

import kube_made
import kube_schemas
import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from cluster.kuberay import KubeRay
from cluster.kubernetes_cron import kubernetes_cron, starting_deadline
from cluster.kubernetes_names import MAX_RAYJOB_NAME, cores, label_value, object_name, quantity
from cluster.target import TargetError
from cluster.yaml_text import Noted, documents_text, plain

DAILY = {"cron": "0 3 * * *", "timezone": "Europe/Berlin"}
LOADERS = [yaml.SafeLoader, getattr(yaml, "CSafeLoader", yaml.SafeLoader)]

FULL = {
    "image_pull_policy": "Always",
    "image_pull_secrets": ["registry"],
    "namespace": "corpora",
    "service_account": "reader",
    "head": {"cpu": 0.5, "memory": "2GiB", "node_selector": {"pool": "spot"}},
    "workers": [
        {"replicas": 1, "max_replicas": 8, "tolerations": [{"key": "spot", "operator": "Equal", "value": "true", "effect": "NoSchedule"}]},
        {"name": "big", "cpu": 16, "memory": "64GiB", "tolerations": [{"effect": "NoExecute", "seconds": 60}]},
    ],
    "env": {"AWS_REGION": "eu", "EMPTY": "", "LINES": "a\nb"},
    "env_from": ["s3"],
    "secret_env": [{"variable": "HF_TOKEN", "name": "hub", "key": "token"}],
    "priority_class": "low",
    "labels": {"kueue.x-k8s.io/queue-name": "batch"},
    "annotations": {"note": "no: yes # 'really'"},
    "deadline_seconds": 3600,
    "auth_secret": "ray-token",
}
WAYS = {
    "defaults": {},
    "everything": FULL,
    "by http": {"submission_mode": "HTTPMode", "auth": "disabled"},
    "from the head": {"submission_mode": "SidecarMode", "workers": []},
    "folder in the image": {"folder_in_image": "/opt/crawl"},
    "working directory": {"working_dir": "s3://code/crawl.zip", "cronjob": "ray"},
    "ray's own schedule": {"cronjob": "ray", "run_as_user": None},
    "account for the schedule": {"scheduler_service_account": "submitter"},
}


def rendered(target_options, job):
    return list(yaml.safe_load_all(KubeRay.of(target_options).describe(job)))


def by_kind(documents, kind):
    return [document for document in documents if document["kind"] == kind]


@pytest.fixture
def needs_schemas():
    if not kube_schemas.FOLDER.is_dir():
        pytest.skip(f"KubeRay's schemas are not in {kube_schemas.FOLDER}")


@pytest.fixture
def made(tmp_path):
    return kube_made.folder(tmp_path, {"own/ops.py": "x = 1\n", "words/nl.txt": "no\n\n# on\n", "model/a.bin": b"\xff\x00", "own_ops": "y"})


@pytest.mark.parametrize("way", WAYS)
def test_what_is_sent_is_what_kubernetes_takes(way, made, needs_schemas):
    """Every document is valid by the published schemas, without a key that they do not name, with a schedule and without."""
    for schedule in (None, DAILY):
        documents = rendered(kube_made.options(schedule, **WAYS[way]), kube_made.job(made))
        assert documents
        assert {document["kind"]: kube_schemas.problems(document) for document in documents} == {d["kind"]: [] for d in documents}


def test_a_wrong_key_anywhere_is_found(made, needs_schemas):
    """The checks of these tests find a misspelt key, or a wrong type, at every place of every document."""

    def tables(value):
        if isinstance(value, dict):
            yield value
        for entry in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            yield from tables(entry)

    free = {"labels", "annotations", "nodeSelector", "data", "binaryData", "limits", "requests", "rayStartParams"}
    for way in ("everything", "ray's own schedule"):
        for document in rendered(kube_made.options(DAILY, **WAYS[way]), kube_made.job(made)):
            for number, table in enumerate(tables(document)):
                holder = [key for entry in tables(document) for key, value in entry.items() if value is table]
                if holder and holder[0] in free:
                    continue
                spoilt = copy.deepcopy(document)
                list(tables(spoilt))[number]["imge"] = "x"
                assert kube_schemas.problems(spoilt), (document["kind"], number)
    spec = by_kind(rendered(kube_made.options(), kube_made.job(made)), "RayJob")[0]
    spec["spec"]["backoffLimit"] = "2"
    assert kube_schemas.problems(spec)


def test_it_is_the_same_every_time(made):
    """What would be sent does not depend on when or in which order it is asked for."""
    first = KubeRay.of(kube_made.options(DAILY, **FULL)).describe(kube_made.job(made))
    assert KubeRay.of(dict(reversed(kube_made.options(DAILY, **FULL).items()))).describe(kube_made.job(made)) == first


def test_the_driver_and_every_worker_find_the_pipelines_folder(made):
    """The files of the folder stand in head, workers and the schedule's pod under their own paths, and the command runs there."""
    documents = rendered(kube_made.options(DAILY), kube_made.job(made))
    of_job, of_schedule = by_kind(documents, "ConfigMap")
    (ray_job,), (cron,) = by_kind(documents, "RayJob"), by_kind(documents, "CronJob")
    cluster = ray_job["spec"]["rayClusterSpec"]
    expected = {
        "crawl.yaml": kube_made.PIPELINE.encode(),
        "own/ops.py": b"x = 1\n",
        "own_ops": b"y",
        "words/nl.txt": b"no\n\n# on\n",
        "model/a.bin": b"\xff\x00",
    }
    for template in (cluster["headGroupSpec"]["template"], *(group["template"] for group in cluster["workerGroupSpecs"])):
        assert kube_made.mounted(of_job, template["spec"]) == expected
    pod = cron["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert kube_made.mounted(of_schedule, pod) == expected
    (place,) = pod["containers"][0]["volumeMounts"]
    assert ray_job["spec"]["entrypoint"].startswith(f"env -C {place['mountPath']} python -m cluster.supervise ")
    assert pod["containers"][0]["workingDir"] == place["mountPath"]


def test_a_folder_elsewhere_does_not_go_along(made):
    """In the image the command runs where it is; in a working directory Ray sees to that."""
    (in_image,) = rendered(kube_made.options(folder_in_image="/opt/crawl"), kube_made.job(made))
    assert in_image["spec"]["entrypoint"].startswith("env -C /opt/crawl python -m cluster.supervise ")
    (fetched,) = rendered(kube_made.options(working_dir="https://code/crawl.zip"), kube_made.job(made))
    assert fetched["spec"]["entrypoint"].startswith("python -m cluster.supervise ")
    assert yaml.safe_load(fetched["spec"]["runtimeEnvYAML"]) == {"working_dir": "https://code/crawl.zip"}
    for document in (in_image, fetched):
        assert "volumes" not in document["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]


@pytest.mark.parametrize("content", [b"\x00" * 1_100_000, b"\xff" * 900_000], ids=["files", "as text"])
def test_a_folder_that_does_not_fit_is_refused_with_a_way_out(made, content):
    """What is larger than a ConfigMap may be is named, with both other ways."""
    (made / "zz.bin").write_bytes(content)
    with pytest.raises(TargetError, match=r"1 MiB.*submit\.kuberay\.folder_in_image.*submit\.kuberay\.working_dir"):
        KubeRay.of(kube_made.options()).describe(kube_made.job(made))


def test_secrets_are_there_by_reference_alone(made):
    """Pods that work get secrets from the cluster's own; one that is needed and not named is told."""
    documents = rendered(kube_made.options(DAILY, **FULL), kube_made.job(made))
    (ray_job,), (cron,) = by_kind(documents, "RayJob"), by_kind(documents, "CronJob")
    cluster = ray_job["spec"]["rayClusterSpec"]
    pods = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"], cron["spec"]["jobTemplate"]["spec"]]
    for pod in pods:
        container = pod["template"]["spec"]["containers"][0]
        assert container["envFrom"] == [{"secretRef": {"name": "s3"}}]
        assert {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "hub", "key": "token"}}} in container["env"]
    text = KubeRay.of(kube_made.options()).describe(kube_made.job(made, secrets=("AWS_SECRET_ACCESS_KEY",)))
    assert "the pods need AWS_SECRET_ACCESS_KEY; name a Secret in `submit.kuberay.env_from`" in text


def test_memory_is_bounded_and_pods_are_not_root(made):
    """Each container may use the memory that it asks for; none may become root."""
    documents = rendered(kube_made.options(DAILY, **FULL), kube_made.job(made))
    (spec,), (cron,) = ([d["spec"] for d in by_kind(documents, kind)] for kind in ("RayJob", "CronJob"))
    cluster = spec["rayClusterSpec"]
    holders = [
        cluster["headGroupSpec"],
        *cluster["workerGroupSpecs"],
        cron["jobTemplate"]["spec"],
        {"template": spec["submitterPodTemplate"]},
    ]
    for holder in holders:
        pod = holder["template"]["spec"]
        (container,) = pod["containers"]
        assert container["resources"]["limits"]["memory"] == container["resources"]["requests"]["memory"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert [holder["template"]["spec"]["containers"][0]["resources"]["requests"] for holder in holders[:3]] == [
        {"cpu": "500m", "memory": "2Gi"},
        {"cpu": "4", "memory": "16Gi"},
        {"cpu": "16", "memory": "64Gi"},
    ]


def test_the_autoscaler_is_there_when_workers_may_come_and_go(made):
    """Bounds that differ turn it on, equal ones do not; without workers the head takes tasks."""
    scaled = by_kind(rendered(kube_made.options(workers=[{"max_replicas": 9}]), kube_made.job(made)), "RayJob")[0]["spec"]["rayClusterSpec"]
    fixed = by_kind(rendered(kube_made.options(), kube_made.job(made)), "RayJob")[0]["spec"]["rayClusterSpec"]
    alone = by_kind(rendered(kube_made.options(workers=[]), kube_made.job(made)), "RayJob")[0]["spec"]["rayClusterSpec"]
    assert scaled["enableInTreeAutoscaling"] is True
    assert "enableInTreeAutoscaling" not in fixed
    assert [spec["headGroupSpec"]["rayStartParams"].get("num-cpus") for spec in (scaled, fixed, alone)] == ["0", "0", None]


def test_a_tick_submits_an_ingestion_without_a_schedule(made):
    """The CronJob's pod submits the same file with the same settings; its job does not bring the schedule up to date again."""
    job = kube_made.job(made, "crawl-1", "run", "crawl.yaml", "--set", "output.uri=s3://x/a b", "--set", "execution.seed=3")
    (cron,) = by_kind(rendered(kube_made.options(DAILY), job), "CronJob")
    spec = cron["spec"]
    assert (spec["schedule"], spec["timeZone"], spec["concurrencyPolicy"], spec["startingDeadlineSeconds"]) == (
        "0 3 * * *",
        "Europe/Berlin",
        "Forbid",
        86_400,
    )
    (container,) = spec["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert container["command"] == [
        *("shardmill", "submit", "crawl.yaml", "--to", "kuberay", "--ingest"),
        *("--set", "output.uri=s3://x/a b", "--set", "execution.seed=3", "--set", "schedule=null"),
    ]
    (by_ray,) = by_kind(rendered(kube_made.options(DAILY, cronjob="ray"), job), "RayCronJob")
    assert "shardmill ingest crawl.yaml --set" in by_ray["spec"]["jobTemplate"]["entrypoint"]
    assert not by_kind(rendered(kube_made.options(DAILY, cronjob="none"), job), "CronJob")


def test_the_schedules_account_may_hand_over_jobs_and_nothing_else(made):
    """Its rights are exactly those of what `submit` asks for; an account that is given is used, and none is made."""
    documents = rendered(kube_made.options(DAILY), kube_made.job(made))
    (role,), (binding,), (account,) = (by_kind(documents, kind) for kind in ("Role", "RoleBinding", "ServiceAccount"))
    assert {(tuple(rule["resources"]), tuple(rule["verbs"])) for rule in role["rules"]} == {
        (("rayjobs",), ("create", "get")),
        (("configmaps",), ("create", "get", "patch")),
    }
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert binding["subjects"][0]["name"] == account["metadata"]["name"]
    (cron,) = by_kind(documents, "CronJob")
    assert cron["spec"]["jobTemplate"]["spec"]["template"]["spec"]["serviceAccountName"] == account["metadata"]["name"]
    given = rendered(kube_made.options(DAILY, scheduler_service_account="submitter"), kube_made.job(made))
    assert {document["kind"] for document in given} == {"ConfigMap", "RayJob", "CronJob"}


def test_a_schedule_that_kubernetes_cannot_keep_is_refused(made):
    """A working directory of Ray's does not reach a CronJob's pod; what to do is said."""
    with pytest.raises(TargetError, match="folder_in_image"):
        KubeRay.of(kube_made.options(DAILY, working_dir="s3://code/crawl.zip")).describe(kube_made.job(made))


# Any text


WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
TRICKY = st.sampled_from(
    [
        "no",
        "1e3",
        "0o17",
        "null",
        "~",
        "$(HOME)",
        "$$(A)",
        "$x",
        "a'b\"c",
        "- a",
        "#x",
        "k: v",
        "\u2028",
        "\ufeffa",
        "é\U0001f600",
        " ",
        "12:30",
    ]
)
TEXTS = st.one_of(WORDS, TRICKY, st.lists(st.one_of(WORDS, TRICKY), max_size=3).map("\n".join))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    words=st.lists(TEXTS, max_size=4),
    env=st.dictionaries(st.from_regex(r"[A-Z_]{1,8}x", fullmatch=True), TEXTS, max_size=3),
    note=TEXTS,
    job_id=st.one_of(st.from_regex(r"[a-z0-9][a-z0-9-]{0,50}[a-z0-9]", fullmatch=True), TEXTS),
    name=TEXTS,
    mode=st.sampled_from(["K8sJobMode", "HTTPMode", "SidecarMode"]),
)
@example(words=["$(HOME)", "a b"], env={"Ax": "$(HOME) $$(A)", "Bx": "no", "Cx": "1e3"}, note="on", job_id="1", name="e", mode="K8sJobMode")
def test_any_text_reaches_the_driver_as_it_is(words, env, note, job_id, name, mode, tmp_path):
    """Arguments and variables come through YAML, Kubernetes' own replacements and two shells; names are such as Kubernetes takes."""
    folder = kube_made.folder(tmp_path)
    job = kube_made.job(folder, job_id, "run", "crawl.yaml", *words)
    job = replace(job, name=name, environment=env)
    variables = {"HOME": "wrong", "A": "wrong"}
    options = kube_made.options(submission_mode=mode, annotations={"note": note})
    text = KubeRay.of(options).describe(job)
    documents = list(yaml.safe_load_all(text))
    assert [list(yaml.load_all(text, Loader=loader)) for loader in LOADERS] == [documents, documents]
    if kube_schemas.FOLDER.is_dir():
        assert [kube_schemas.problems(document) for document in documents] == [[], []]
    (ray_job,) = by_kind(documents, "RayJob")
    seen = kube_made.driver_words(ray_job["spec"]["entrypoint"], mode, variables)
    assert seen[seen.index("--") + 1 :] == ["shardmill", "run", "crawl.yaml", *words]
    (container,) = ray_job["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["containers"]
    values = {entry["name"]: kube_made.expanded(entry["value"], variables) for entry in container["env"]}
    assert {key: values[key] for key in env} == env
    assert ray_job["metadata"]["annotations"]["note"] == note
    assert re.fullmatch(r"[a-z]([-a-z0-9]{0,45}[a-z0-9])?", ray_job["metadata"]["name"])


PLAIN = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), TEXTS),
    lambda inner: st.one_of(st.lists(st.one_of(st.none(), st.integers(), TEXTS), max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(
    data=st.dictionaries(TEXTS, st.one_of(PLAIN, st.lists(st.dictionaries(TEXTS, PLAIN, min_size=1, max_size=3), max_size=3)), max_size=4),
    why=WORDS,
)
def test_plain_data_reads_back_as_it_was(data, why):
    """YAML that is written is read back the same, by both of PyYAML's readers (YAML 1.1), with a comment at every key and without."""

    def noted(value):
        if isinstance(value, dict):
            return {key: Noted(noted(entry), why) for key, entry in value.items()}
        return [noted(entry) for entry in value] if isinstance(value, list) else value

    if not data:
        return
    for written in (data, noted(data)):
        assert plain(written) == data
        for loader in LOADERS:
            assert list(yaml.load_all(documents_text([written, written]), Loader=loader)) == [data, data]


def test_text_of_several_lines_stands_as_it_is():
    """A file is read in a manifest as in an editor, unless something in it could be taken for the manifest's own."""
    assert "  f: |\n    a: 1\n\n    b\n" in documents_text([{"data": {"f": "a: 1\n\nb\n"}}])
    assert "|" not in documents_text([{"data": {"f": " a\nb\n"}}])


@given(text=st.one_of(TEXTS, st.from_regex(r"[a-z0-9-]{1,60}", fullmatch=True)))
def test_names_are_such_as_kubernetes_takes(text):
    """Any text gives a name and a value of a label; a text that is a name already stays."""
    name = object_name(text)
    assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", name)
    assert len(name) <= MAX_RAYJOB_NAME
    assert object_name(name) == name
    assert re.fullmatch(r"([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?", label_value(text))


def test_names_that_differ_stay_apart():
    """What is cut off still counts."""
    names = ["a" * 60, "a" * 61, "A" * 60, "1" * 60, "-", "--", "", "é", "a-", "a"]
    assert len({object_name(name) for name in names}) == len(names)


@given(num_bytes=st.one_of(st.integers(1, 2**60), st.integers(1, 1000).map(lambda count: count * 2**30)))
def test_amounts_are_exact(num_bytes):
    """An amount of memory is the number of bytes that was asked for."""
    number, unit = re.fullmatch(r"([0-9]+)([KMGTP]i|)", quantity(num_bytes)).groups()
    assert int(number) * 1024 ** ["", "Ki", "Mi", "Gi", "Ti", "Pi"].index(unit) == num_bytes
    assert [cores(cpu) for cpu in (0.1, 1, 2.5, 16.0)] == ["100m", "1", "2500m", "16"]


# Schedules


@pytest.mark.parametrize(
    ("cron", "there"),
    [
        ("0 3 * * *", "0 3 * * *"),
        ("*/5 0-6,12 1 JAN-MAR mon", "*/5 0-6,12 1 jan-mar mon"),
        ("0 0 * * 7", "0 0 * * 0"),
        ("0 0 * * 5-7,1", "0 0 * * 5,6,0,1"),
        ("0 0 * * 1-7/2", "0 0 * * 1,3,5,0"),
        ("0 0 13 * 5", "0 0 13 * 5"),
    ],
)
def test_a_schedule_means_the_same_there(cron, there):
    """Kubernetes knows no day 7; everything else of the common dialect stays."""
    assert kubernetes_cron(cron) == there


@pytest.mark.parametrize(
    "cron",
    [
        "@daily",
        "0 0 L * *",
        "0 0 * * 5#2",
        "0 0 * * 6-2",
        "60 * * * *",
        "0 0 0 * *",
        "5/10 * * * *",
        "0 0 */2 * 1",
        "0 * * * * *",
        "0 0 * * ,",
    ],
)
def test_a_schedule_that_would_mean_something_else_there_is_refused(cron):
    """What Kubernetes does not know, or takes for other ticks, is said before anything is sent."""
    with pytest.raises(TargetError, match=r"schedule\.cron.*cronjob: none"):
        kubernetes_cron(cron)


@pytest.mark.parametrize(
    ("cron", "seconds"),
    [("*/5 * * * *", 3600), ("0 3 * * *", 86_400), ("0 3 * * 1", 7 * 86_400), ("0 3 1 * *", 31 * 86_400), ("0 3 1 1 *", 366 * 86_400)],
)
def test_the_latest_missed_tick_is_made_up_for(cron, seconds):
    """The time for which Kubernetes makes up for a tick covers the longest time between two; with `skip` it is short."""
    assert [starting_deadline(cron, catch_up) for catch_up in ("last", "all", "skip")] == [seconds, seconds, 60]

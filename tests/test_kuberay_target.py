"""Jobs on Kubernetes, against an API server on loopback: submitted once, followed, stopped; and what its refusals tell a user."""

from __future__ import annotations

import os
import pickle
import shutil
import ssl
import subprocess
import threading
from pathlib import Path

import kube_made
import pytest
from kube_server import kubernetes

from cluster.kuberay import KubeRay
from cluster.kubernetes_api import Refused, connected
from cluster.target import JobState, TargetError
from pipelines.submission import hand_over

NAME = "crawl-0123abcd"
DAILY = {"cron": "0 3 * * *", "timezone": "Europe/Berlin"}
OWN = {"job-name": NAME}


@pytest.fixture
def cluster():
    with kubernetes() as running:
        yield running


@pytest.fixture
def job(tmp_path):
    return kube_made.job(kube_made.folder(tmp_path))


def target(cluster, schedule=None, pause=lambda seconds: None, **settings):
    return KubeRay(kube_made.options(schedule, api_server=cluster.url, **settings), pause)


def test_submitted_twice_it_runs_once(cluster, job):
    """The second submission finds the job there; the folder goes away with the job that owns it."""
    assert target(cluster).submit(job) is True
    made = cluster.kind("rayjobs")[NAME]
    assert target(cluster, backoff_limit=9).submit(job) is False
    assert cluster.kind("rayjobs") == {NAME: made}
    assert made["spec"]["backoffLimit"] == 2
    (owner,) = cluster.kind("configmaps")[NAME]["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["uid"]) == ("RayJob", NAME, made["metadata"]["uid"])


def test_of_two_submitters_at_once_one_makes_the_job(cluster, job):
    """Whoever comes second is told that it is there, and its folder belongs to the job all the same."""
    together, made = threading.Barrier(4), []

    def submit():
        together.wait()
        made.append(target(cluster).submit(job))

    threads = [threading.Thread(target=submit) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == [False, False, False, True]
    (owner,) = cluster.kind("configmaps")[NAME]["metadata"]["ownerReferences"]
    assert owner["uid"] == cluster.kind("rayjobs")[NAME]["metadata"]["uid"]


def test_the_schedule_is_brought_up_to_date(cluster, job):
    """A changed schedule replaces the old one, though the job is there already; another pipeline's stays."""
    assert hand_over(target(cluster, DAILY), job).is_new
    assert not hand_over(target(cluster, DAILY | {"cron": "30 4 * * *"}), job).is_new
    assert cluster.kind("cronjobs")["crawl-ingest"]["spec"]["schedule"] == "30 4 * * *"
    assert set(cluster.kind("configmaps")) == {NAME, "crawl-ingest"}
    assert [list(cluster.kind(plural)) for plural in ("roles", "rolebindings", "serviceaccounts")] == [["crawl-ingest"]] * 3


def test_a_schedule_can_be_brought_up_to_date_alone(cluster, job):
    """Where the job is there already its schedule is still made anew; without one nothing is asked for."""
    target(cluster, DAILY).prepare(job)
    assert list(cluster.kind("cronjobs")) == ["crawl-ingest"]
    assert not cluster.kind("rayjobs")
    cluster.requests.clear()
    target(cluster).prepare(job)
    assert cluster.requests == []


def test_the_cluster_can_be_asked_beforehand(cluster, job):
    """It says whether it would take everything, and makes nothing."""
    said = target(cluster, DAILY).check(job)
    assert said == (
        "Kubernetes would take: ConfigMap crawl-0123abcd, RayJob crawl-0123abcd, ConfigMap crawl-ingest, ServiceAccount crawl-ingest, "
        "Role crawl-ingest, RoleBinding crawl-ingest, CronJob crawl-ingest"
    )
    assert cluster.objects == {}
    cluster.forbidden.add(("PATCH", "rayjobs"))
    with pytest.raises(TargetError, match="rayjobs is forbidden"):
        target(cluster).check(job)


def test_what_a_tick_asks_for_is_what_its_account_may_do(cluster, job):
    """A submission without a schedule needs no other right than those of the role that is made for it."""
    target(cluster, DAILY).prepare(job)
    rules = cluster.kind("roles")["crawl-ingest"]["rules"]
    allowed = {(verb, resource) for rule in rules for resource in rule["resources"] for verb in rule["verbs"]}
    cluster.requests.clear()
    target(cluster).submit(kube_made.job(job.folder, "crawl-2", "ingest", "crawl.yaml"))
    verbs = {"GET": "get", "POST": "create", "PATCH": "patch"}
    asked = {(verbs[method], "configmaps" if "/configmaps" in path else "rayjobs") for method, path in cluster.requests}
    assert asked <= allowed


@pytest.mark.parametrize(
    ("status", "state", "code"),
    [
        ({}, JobState.PENDING, None),
        ({"jobDeploymentStatus": "Initializing"}, JobState.PENDING, None),
        ({"jobDeploymentStatus": "Running", "jobStatus": "PENDING"}, JobState.PENDING, None),
        ({"jobDeploymentStatus": "Running", "jobStatus": "RUNNING"}, JobState.RUNNING, None),
        ({"jobDeploymentStatus": "Running", "jobStatus": "FAILED"}, JobState.RUNNING, None),
        ({"jobDeploymentStatus": "Retrying"}, JobState.PENDING, None),
        ({"jobDeploymentStatus": "Suspended"}, JobState.PENDING, None),
        ({"jobDeploymentStatus": "Complete", "jobStatus": "SUCCEEDED"}, JobState.SUCCEEDED, 0),
        ({"jobDeploymentStatus": "Complete", "jobStatus": "STOPPED"}, JobState.STOPPED, None),
        ({"jobDeploymentStatus": "Failed", "reason": "DeadlineExceeded"}, JobState.FAILED, None),
        ({"jobDeploymentStatus": "ValidationFailed", "message": "RayJob name …"}, JobState.FAILED, None),
        *(
            (
                {
                    "jobDeploymentStatus": "Failed",
                    "jobStatus": "FAILED",
                    "message": f"Job entrypoint command failed with exit code {said}, last",
                },
                *found,
            )
            for said, *found in [(1, JobState.FAILED, 1), (4, JobState.FAILED, 4), (-9, JobState.FAILED, 137), (3, JobState.SUCCEEDED, 3)]
        ),
    ],
)
def test_where_a_job_is(cluster, job, status, state, code):
    """KubeRay's words, and the driver's own exit code out of Ray's; an ingestion that found nothing new has not failed."""
    target(cluster).submit(job)
    cluster.become(NAME, **status)
    found = target(cluster).status(NAME)
    assert (found.state, found.exit_code) == (state, code)
    if state == JobState.FAILED:
        assert found.message


def test_a_job_that_is_not_there_is_unknown(cluster):
    """Nothing is known of it, nothing of it can be stopped, and asking for its log says so."""
    assert target(cluster).status(NAME).state == JobState.UNKNOWN
    assert target(cluster).stop(NAME) is False
    with pytest.raises(TargetError, match=f"there is no RayJob {NAME} in the namespace 'default'"):
        list(target(cluster).logs(NAME, follow=False))


def test_the_log_is_read_to_its_end_each_line_once(cluster, job):
    """A follower sees what is written later, goes on with the submitter's successor, and ends when the job does."""
    target(cluster).submit(job)
    steps = [
        lambda: cluster.pod("a", OWN),
        lambda: cluster.pod("a", OWN, "one", "two"),
        lambda: cluster.pod("a", OWN, "three"),
        lambda: cluster.pod("b", OWN, "", "again ä", born="2026-01-01T00:00:01Z"),
        lambda: (cluster.pod("b", OWN, "last"), cluster.become(NAME, jobDeploymentStatus="Complete", jobStatus="SUCCEEDED")),
    ]
    pause = lambda seconds: steps.pop(0)()  # noqa: E731
    seen = list(target(cluster, pause=pause).logs(NAME, follow=True))
    assert seen == ["one", "two", "three", "", "again ä", "last"]
    assert not steps
    assert list(target(cluster).logs(NAME, follow=False)) == seen


def test_the_log_of_other_ways_to_submit(cluster, job):
    """From the head's pod it is the container beside Ray's; by HTTP no pod writes it, which is said."""
    target(cluster).submit(job)
    cluster.pod("head", {"shardmill/job": NAME, "ray.io/node-type": "head"}, "one")
    cluster.pod("worker", {"shardmill/job": NAME, "ray.io/node-type": "worker"}, "no")
    assert list(target(cluster, submission_mode="SidecarMode").logs(NAME, follow=False)) == ["one"]
    with pytest.raises(TargetError, match="K8sJobMode"):
        list(target(cluster, submission_mode="HTTPMode").logs(NAME, follow=False))


def test_stopped_it_may_be_submitted_again(cluster, job):
    """Stopping deletes the job; while it goes nothing new can take its place, and then it can."""
    target(cluster).submit(job)
    cluster.deletes_slowly = True
    assert target(cluster).stop(NAME) is True
    assert target(cluster).stop(NAME) is False
    looking_on = target(cluster)
    assert looking_on.status(NAME).state == JobState.RUNNING
    with pytest.raises(TargetError, match=r"is being deleted.*submit again when it is gone"):
        target(cluster).submit(job)
    cluster.objects = {path: found for path, found in cluster.objects.items() if "/rayjobs/" not in path}
    assert looking_on.status(NAME).state is JobState.STOPPED, "who saw it go knows why it is gone"
    assert target(cluster).status(NAME).state is JobState.UNKNOWN
    assert target(cluster).submit(job) is True
    cluster.become(NAME, jobDeploymentStatus="Complete", jobStatus="SUCCEEDED")
    assert target(cluster).stop(NAME) is False


def test_an_image_is_needed_to_submit_and_not_to_look(cluster, job):
    """A plain pipeline file can be looked at; submitting it names the key that is missing."""
    plain = KubeRay(kube_made.options(image=None, api_server=cluster.url))
    assert "give the image" in plain.describe(job)
    with pytest.raises(TargetError, match=r"submit\.kuberay\.image: the image is not given"):
        hand_over(plain, job)
    assert cluster.requests == []


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda c: c.forbidden.add(("POST", "rayjobs")),
            r'cannot post resource "rayjobs".*ask for these rights in the namespace \'default\'',
        ),
        (lambda c: c.forbidden.add(("PATCH", "cronjobs")), r"cronjobs is forbidden.*--set submit\.kuberay\.cronjob=none"),
        (lambda c: c.namespaces.clear(), r'namespaces "default" not found.*kubectl create namespace default'),
        (lambda c: c.kinds.discard("rayjobs"), r"could not find the requested resource; install the operator KubeRay"),
        (lambda c: setattr(c, "token", "other"), r"Unauthorized; log in to the cluster again"),
        (lambda c: c.failures.extend([503] * 9), r"leader changed; check that the cluster answers \(`kubectl version`\)"),
    ],
)
def test_a_refusal_says_what_to_do(cluster, job, spoil, message):
    """Each of the usual ones is one message with the server's words and a remedy."""
    spoil(cluster)
    with pytest.raises(TargetError, match=message) as caught:
        hand_over(target(cluster, DAILY), job)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    assert not cluster.kind("rayjobs")


def test_a_server_that_stumbles_is_asked_again(cluster, job):
    """What passes is waited for, longer each time."""
    cluster.failures = [503, 429, 500]
    waited = []
    assert target(cluster, pause=waited.append).submit(job) is True
    assert waited == [1.0, 2.0, 4.0]
    assert str(pickle.loads(pickle.dumps(Refused(409, "a", "b")))) == "409 a: b"


def test_nobody_listens_or_it_is_no_kubernetes(cluster, job):
    """An address where nothing answers, or something else does, is told."""
    url = cluster.url
    with kubernetes() as other:
        gone = other.url
    with pytest.raises(TargetError, match="the API server of Kubernetes does not answer"):
        KubeRay(kube_made.options(api_server=gone)).submit(job)
    cluster.objects[f"/apis/ray.io/v1/namespaces/default/rayjobs/{NAME}"] = b"<html>"
    with pytest.raises(TargetError, match="is none: its answer is no JSON object"):
        KubeRay(kube_made.options(api_server=url)).status(NAME)


# How the server is reached


def test_a_pod_reaches_its_own_cluster(tmp_path, monkeypatch):
    """With the service account's token, read anew for each request, over TLS that is checked."""
    certificate, key = tmp_path / "ca.crt", tmp_path / "key.pem"
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    subject = ["-subj", "/CN=kubernetes", "-addext", "subjectAltName=IP:127.0.0.1"]
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    subprocess.run([*make, *subject, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    with kubernetes(tls) as running:
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", running.url.rpartition(":")[2])
        path = "/apis/ray.io/v1/namespaces/default/rayjobs/x"
        running.objects[path] = {"kind": "RayJob"}
        (tmp_path / "token").write_text("none")
        with connected(None, None, account=tmp_path) as api:
            for token in ("first", "second"):
                (tmp_path / "token").write_text(f"{token}\n")
                running.token = token
                assert api.get(path) == {"kind": "RayJob"}


def test_elsewhere_kubectl_knows_the_cluster(cluster, job, tmp_path, monkeypatch):
    """The real `kubectl proxy` is started with the user's own context, and is gone afterwards."""
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")
    clusters = f"clusters: [{{name: c, cluster: {{server: '{cluster.url}'}}}}]"
    contexts = "contexts: [{name: here, context: {cluster: c, user: u}}]"
    (tmp_path / "config").write_text(f"apiVersion: v1\nkind: Config\n{clusters}\n{contexts}\nusers: [{{name: u, user: {{token: t0}}}}]\n")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    cluster.token = "t0"
    found = KubeRay(kube_made.options(context="here"))
    if not cluster.url.startswith("https"):
        cluster.token = None  # kubectl sends no token over plain http
    assert found.submit(job) is True
    assert found.submit(job) is False
    with pytest.raises(TargetError, match=r"kubectl cannot reach a cluster: .*nowhere.*submit\.kuberay\.context"):
        KubeRay(kube_made.options(context="nowhere")).status(NAME)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TargetError, match=r"no `kubectl` on the PATH.*--dry \| kubectl apply -f -"):
        found.status(NAME)
    assert not [place for place in Path("/proc").iterdir() if place.name.isdigit() and _is_our_proxy(place)]


def _is_our_proxy(place):
    try:
        parent = int((place / "stat").read_text().rpartition(")")[2].split()[1])
        return parent == os.getpid() and b"kubectl" in (place / "cmdline").read_bytes()  # Ray has a proxy, too
    except OSError:
        return False

"""The section `submit.kuberay`: what is refused, where, and with which remedy."""

from __future__ import annotations

import pytest
import yaml

from cluster.kuberay import KubeRay
from cluster.target import Job
from pipelines.config import load
from pipelines.errors import ConfigError

PIPELINE = "name: p\ninput: {uri: in/*.parquet}\noutput: {uri: out}\nsubmit:\n  kuberay:\n"


@pytest.fixture
def problem(tmp_path):
    def of(text):
        (tmp_path / "p.yaml").write_text(PIPELINE + "".join(f"    {line}\n" for line in text.splitlines()))
        with pytest.raises(ConfigError) as caught:
            load(tmp_path / "p.yaml")
        (found,) = caught.value.problems
        return found.removeprefix(f"{tmp_path}/p.yaml:")

    return of


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "env: {AWS_SECRET_ACCESS_KEY: abc}",
            "6: submit.kuberay.env.AWS_SECRET_ACCESS_KEY: 'AWS_SECRET_ACCESS_KEY' is a secret",
        ),
        ("env:\n  HF_TOKEN: hf_x", "7: submit.kuberay.env.HF_TOKEN: 'HF_TOKEN' is a secret"),
        (
            "env: {AWS_ENDPOINT_URL: 'https://me:pw@s3'}",
            "6: submit.kuberay.env.AWS_ENDPOINT_URL: the value of 'AWS_ENDPOINT_URL' holds",
        ),
        ("env: {A: b}\nsecret_env: [{variable: A, name: s, key: k}]", "6: submit.kuberay.env.A: 'A' stands in `secret_env`, too"),
        (
            "secret_env: [{variable: A, name: s, key: k}, {variable: A, name: t, key: k}]",
            "6: submit.kuberay.secret_env: 'A' stands there 2",
        ),
        ("workers: [{}, {}]", "6: submit.kuberay.workers: 2 groups of workers are called 'workers'; give each a `name`"),
        ("workers: [{max_replicas: 1}]", "6: submit.kuberay.workers[0].max_replicas: max_replicas (1) is below replicas (2)"),
        ("workers: [{min_replicas: 3}]", "6: submit.kuberay.workers[0].min_replicas: min_replicas (3) is above replicas (2)"),
        ("head: {memory: 1MiB}", "6: submit.kuberay.head.memory: found '1MiB', expected at least 256MiB"),
        ("head: {tolerations: [{value: x}]}", "6: submit.kuberay.head.tolerations[0].value: a value goes with `operator: Equal`"),
        ("head: {tolerations: [{operator: Equal}]}", "6: submit.kuberay.head.tolerations[0].operator: Equal needs a `key`"),
        ("head: {tolerations: [{seconds: 1}]}", "6: submit.kuberay.head.tolerations[0].seconds: it goes with `effect: NoExecute`"),
        ("folder_in_image: /a\nworking_dir: s3://b/c.zip", "7: submit.kuberay.working_dir: `folder_in_image` says where the folder is"),
        ("working_dir: https://b/c?sig=abc.zip", "6: submit.kuberay.working_dir: it holds a password or a signature"),
        ("auth: disabled\nauth_secret: s", "7: submit.kuberay.auth_secret: with `auth: disabled` there is no token"),
        ("imag: x", "6: submit.kuberay: there is no key 'imag'; did you mean 'image'?"),
        ("namespace: No_such", "6: submit.kuberay.namespace: found 'No_such', expected text that matches"),
    ],
)
def test_what_cannot_be_is_said_with_its_place(problem, text, said):
    """Each is one message: where, what, and what to do; a secret's value is not in it."""
    found = problem(text)
    assert found.startswith(said)
    assert "abc" not in found
    assert "hf_x" not in found


def test_names_of_places_are_no_secrets(tmp_path):
    """A variable that names a file or an address may stand there, and what names the cluster's Secrets is no secret in a manifest."""
    text = "env: {AWS_WEB_IDENTITY_TOKEN_FILE: /var/t, TOKENIZERS_PARALLELISM: 'false'}\nauth_secret: a\nimage_pull_secrets: [b]\n"
    text += "secret_env: [{variable: HF_TOKEN, name: hub, key: token}]\n"
    (tmp_path / "p.yaml").write_text(PIPELINE + "".join(f"    {line}\n" for line in text.splitlines()))
    said = load(tmp_path / "p.yaml").redacted()["submit"]["kuberay"]
    assert (said["auth_secret"], said["image_pull_secrets"]) == ("a", ["b"])
    assert said["secret_env"] == [{"variable": "HF_TOKEN", "name": "hub", "key": "token"}]


def test_a_plain_pipeline_file_can_be_looked_at(tmp_path):
    """Every key has a default: what would be sent can be printed for any pipeline."""
    (tmp_path / "p.yaml").write_text(PIPELINE.partition("submit:")[0])
    config = load(tmp_path / "p.yaml")
    options = {**config.submit.kuberay.model_dump(mode="json"), "schedule": None}
    job = Job("p-1", "p", ("run", "p.yaml"), tmp_path, files=("p.yaml",))
    assert [document["kind"] for document in yaml.safe_load_all(KubeRay.of(options).describe(job))] == ["ConfigMap", "RayJob"]

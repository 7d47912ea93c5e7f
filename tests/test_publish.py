"""A repo moves to a version at once, or not at all; publishing again does nothing; what is in the way is said before anything is sent."""

from __future__ import annotations

import json
import shutil
import threading

import pytest
from publications import REPO, manifest_of, published, settings, whole

from pipelines import publish_plan
from pipelines.errors import AccessDenied, ConfigError, InputError, NotFound, StorageError, Unavailable, VersionConflict
from pipelines.publish import check_repo, foretell, publish


@pytest.fixture
def small_commits(monkeypatch):
    """Commits of at most 5 files, so that even a small version takes several."""
    monkeypatch.setattr(publish_plan, "FILES_PER_COMMIT", 5)


@pytest.fixture
def moves(hub):
    """What main of any repo was at, after each move; every state must be a whole version."""
    seen: list[str | None] = []

    def moved(_repo, tree):
        seen.append(whole(tree))

    hub.on_move(moved)
    return seen


def commits(hub):
    return [entry for entry in hub.log if entry.method == "POST" and "/commit/" in entry.path]


def test_the_repo_holds_the_version_in_one_commit_and_says_where_its_data_lie(hub, versions, moves):
    done = published(versions[0])
    assert (done.version, done.changed, done.pull) == ("v1", True, None)
    repo = hub.repo(REPO)
    assert repo.is_private
    assert moves[-1] == "v1"
    assert moves.count("v1") == 1
    assert len(commits(hub)) == 1
    assert repo.tags == {"v1": repo.head()}
    about = json.loads(repo.tree()["published.json"])
    assert about["location"] == {"uri": str(versions[0]), "storage_options": {}}
    assert not any(path.startswith("data/") for path in repo.tree())


def test_the_repo_holds_the_data_where_that_is_asked_for(hub, versions, moves):
    published(versions[0], include_data=True)
    assert moves[-1] == "v1"
    tree = hub.repo(REPO).tree()
    shards = sorted(path for path in tree if path.startswith("data/"))
    assert shards == sorted(str(path.relative_to(versions[0])) for path in (versions[0] / "data").rglob("*.parquet"))
    assert all(tree[path] == (versions[0] / path).read_bytes() for path in shards)


@pytest.mark.parametrize("include_data", [False, True])
def test_publishing_the_same_again_does_nothing(hub, versions, include_data):
    published(versions[0], include_data=include_data)
    head, uploads = hub.repo(REPO).head(), dict(hub.uploads)
    again = published(versions[0], include_data=include_data)
    assert not again.changed
    assert again.commit == head == hub.repo(REPO).head()
    assert hub.uploads == uploads
    assert set(uploads.values()) <= {1}
    assert len(commits(hub)) == 1


def test_the_next_version_replaces_the_files_of_the_one_before_which_its_tag_keeps(hub, versions, moves):
    published(versions[0], include_data=True)
    published(versions[1], include_data=True)
    assert moves[-2:] == ["v1", "v2"]
    repo = hub.repo(REPO)
    assert whole(repo.tree("v1")) == "v1"
    assert whole(repo.tree("v2")) == "v2"
    assert not any(path.startswith("data/v1/") for path in repo.tree())
    assert repo.tree()["versions/v1/manifest.json"] == (versions[0] / "manifest.json").read_bytes()


def test_a_version_that_is_larger_than_a_commit_is_staged_and_moves_main_once(hub, versions, moves, small_commits):
    notes = []
    published(versions[0], include_data=True, note=notes.append)
    repo = hub.repo(REPO)
    assert [version for version in moves if version] == ["v1"]
    assert whole(repo.tree()) == "v1"
    assert [pull.status for pull in repo.pulls.values()] == ["merged"]
    assert len(commits(hub)) > 3
    assert "commits, staged in a pull request" in notes[0]
    published(versions[1], include_data=True)
    assert [version for version in moves if version] == ["v1", "v2"]


def test_data_can_be_added_to_a_published_version_and_taken_away_again(hub, versions, moves):
    published(versions[0])
    published(versions[0], include_data=True)
    published(versions[0])
    assert moves[-3:] == ["v1", "v1", "v1"]
    assert not any(path.startswith("data/") for path in hub.repo(REPO).tree())


def test_a_card_that_people_changed_stays_until_the_next_version(hub, versions):
    published(versions[0])
    repo = hub.repo(REPO)
    repo.seed({"README.md": repo.tree()["README.md"] + b"\nOur note.\n", "LICENSE": b"ours"})
    assert not published(versions[0]).changed
    assert repo.tree()["README.md"].endswith(b"Our note.\n")
    published(versions[1])
    assert not repo.tree()["README.md"].endswith(b"Our note.\n")
    assert repo.tree()["LICENSE"] == b"ours"


def test_a_file_that_somebody_removed_comes_back(hub, versions):
    published(versions[0], include_data=True)
    repo = hub.repo(REPO)
    repo.seed({next(path for path in repo.tree() if path.startswith("data/")): None})
    assert published(versions[0], include_data=True).changed
    assert whole(repo.tree()) == "v1"


# --- pull requests


@pytest.mark.parametrize("per_commit", [5, 100])
def test_a_pull_request_holds_the_version_and_main_stays(hub, versions, monkeypatch, per_commit):
    monkeypatch.setattr(publish_plan, "FILES_PER_COMMIT", per_commit)
    published(versions[0])
    repo = hub.repo(REPO)
    before = repo.head()
    done = published(versions[1], create_pr=True)
    assert done.pull is not None
    assert repo.head() == before
    assert repo.tags.keys() == {"v1"}
    pull = repo.pulls[done.pull.number]
    assert pull.status == "open"
    assert whole(repo.tree(f"refs/pr/{done.pull.number}")) == "v2"
    assert not published(versions[1], create_pr=True).changed
    assert len(repo.pulls) == (2 if per_commit == 5 else 1)
    repo.merge(done.pull.number, "a person")
    assert whole(repo.tree()) == "v2"
    tagged = published(versions[1], create_pr=True)
    assert tagged.pull is None
    assert repo.tags["v2"] == repo.head()


def test_the_description_of_a_pull_request_is_the_difference(hub, versions):
    published(versions[0])
    done = published(versions[1], create_pr=True)
    text = hub.repo(REPO).pulls[done.pull.number].description
    for said in ("v1", "v2", "num_chars < 150", "num_chars < 200"):
        assert said in text.replace("\\", ""), text


# --- what is in the way


def test_a_repo_that_holds_something_else_is_left_alone(hub, versions):
    hub.create(REPO, {"README.md": b"# Mine\n", "train.csv": b"a,b\n"}, private=True)
    with pytest.raises(ConfigError, match=r"holds something else \(README.md, train.csv\)"):
        published(versions[0])
    with pytest.raises(ConfigError, match="holds something else"):
        check_repo(settings())
    assert not hub.uploads
    assert not commits(hub)


def test_a_public_repo_is_not_written_to_as_a_private_one(hub, versions):
    hub.create(REPO)
    with pytest.raises(ConfigError, match="the repo is public"):
        published(versions[0], private=True)
    assert not commits(hub)
    notes = []
    assert published(versions[0], note=notes.append).changed
    assert "everybody can read" in notes[0]


def test_another_dataset_in_the_repo_is_not_replaced(hub, versions, tmp_path):
    published(versions[0])
    other = tmp_path / "other"
    shutil.copytree(versions[1], other)
    for path in (other / "manifest.json", other / "versions/v2/manifest.json"):
        path.write_text(path.read_text().replace('"parents": [', '"parents": ["' + "0" * 64 + '"], "ignored": ['))
    first = other / "versions/v1/manifest.json"
    first.write_text(first.read_text().replace('"name": "small"', '"name": "other"'))
    with pytest.raises(VersionConflict, match="does not come from it"):
        published(other)
    assert len(commits(hub)) == 1


def test_an_older_version_does_not_replace_a_newer_one(hub, versions):
    published(versions[1])
    with pytest.raises(VersionConflict, match=r"it holds v2 .* newer than v1"):
        published(versions[0])


def test_a_tag_that_names_something_else_is_told_before_anything_is_sent(hub, versions):
    repo = hub.create(REPO, private=True)
    repo.create_tag("v1", repo.head())
    with pytest.raises(VersionConflict, match="tag v1 is there and names something else"):
        published(versions[0])
    assert not hub.uploads
    assert not commits(hub)


@pytest.mark.parametrize("token", ["read", "stranger", "none"])
def test_who_may_not_write_is_told_before_anything_is_sent(hub, versions, monkeypatch, token):
    hub.create(REPO, private=True)
    tokens = {"read": hub.token("read"), "stranger": hub.token("write", (), "stranger"), "none": ""}
    monkeypatch.setenv("HF_TOKEN", tokens[token])
    monkeypatch.setenv("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")
    with pytest.raises((AccessDenied, NotFound)) as caught:
        published(versions[0])
    assert "HF_TOKEN" in caught.value.message
    assert not hub.uploads
    assert not commits(hub)
    with pytest.raises((AccessDenied, NotFound)):
        check_repo(settings())


def test_a_run_is_refused_early_if_its_repo_could_not_be_made(hub):
    with pytest.raises(AccessDenied, match="its owner is none of yours"):
        check_repo(settings("strangers/small"))
    check_repo(settings())
    assert not hub.repos


def test_no_network_is_one_clear_error(versions, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_TOKEN", "hf_sometoken")
    monkeypatch.setattr("pipelines.publish_hub.wait", lambda _seconds: None)
    with pytest.raises(Unavailable, match=r"no usable answer from http://127.0.0.1:9"):
        published(versions[0])


def test_an_output_that_is_damaged_is_not_published(hub, versions, tmp_path):
    output = tmp_path / "out"
    shutil.copytree(versions[0], output)
    shard = next((output / "data").rglob("*.parquet"))
    content = shard.read_bytes()
    shard.write_bytes(content[:40] + bytes([content[40] ^ 1]) + content[41:])
    with pytest.raises(InputError, match="it was changed"):
        published(output, include_data=True, preview_documents=0)
    shard.unlink()
    for include_data in (False, True):
        with pytest.raises(InputError, match="is missing"):
            published(output, include_data=include_data)
    assert not commits(hub)


def test_nothing_finished_is_nothing_to_publish(hub, tmp_path):
    with pytest.raises(NotFound, match="nothing to publish"):
        publish(str(tmp_path), settings())


def test_a_card_that_the_hub_refuses_is_told(hub, versions):
    with hub.fail("status", matching="validate-yaml", status=400), pytest.raises(StorageError):
        published(versions[0])
    assert not commits(hub)


# --- at the same time


@pytest.mark.parametrize("per_commit", [5, 100])
def test_of_publishers_at_once_exactly_one_makes_the_version(hub, versions, moves, monkeypatch, per_commit):
    monkeypatch.setattr(publish_plan, "FILES_PER_COMMIT", per_commit)
    published(versions[0], include_data=True)
    results, failures = [], []

    def one():
        try:
            results.append(published(versions[1], include_data=True))
        except Exception as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert [version for version in moves if version].count("v2") == 1
    assert {done.commit for done in results} == {hub.repo(REPO).head()}
    assert hub.repo(REPO).tags["v2"] == hub.repo(REPO).head()


def test_somebody_elses_commit_in_between_is_not_lost(hub, versions):
    published(versions[0])
    repo = hub.repo(REPO)
    with hub.fail("pass", method="POST", matching="/commit/main", hook=lambda _request: repo.seed({"NOTES.md": b"ours"})):
        notes = []
        assert published(versions[1], note=notes.append).changed
    assert any("main has moved" in note for note in notes)
    assert repo.tree()["NOTES.md"] == b"ours"
    assert json.loads(repo.tree()["manifest.json"])["version"] == "v2"


# --- limits


def test_the_hourly_limit_of_commits_is_waited_for(hub, versions, monkeypatch, small_commits):
    monkeypatch.setattr("pipelines.publish_hub.wait", hub.clock.sleep)
    hub.skip_waiting(monkeypatch)
    hub.limits.commits_per_hour = 3
    notes = []
    published(versions[0], include_data=True, note=notes.append)
    assert whole(hub.repo(REPO).tree()) == "v1"
    assert any("asks to wait" in note for note in notes)
    assert sum(hub.clock.sleeps) >= 3600


def test_a_hub_that_takes_smaller_commits_gets_them(hub, versions, moves):
    hub.limits.files_per_commit = 7
    notes = []
    published(versions[0], include_data=True, note=notes.append)
    assert [version for version in moves if version] == ["v1"]
    assert any("trying commits of" in note for note in notes)
    hub.limits.files_per_commit = 0
    with pytest.raises(StorageError, match="not even a commit of one file"):
        published(versions[1], include_data=True)


def test_a_commit_is_bounded_in_bytes_too(hub, versions, moves, monkeypatch):
    monkeypatch.setattr(publish_plan, "BYTES_PER_COMMIT", 20_000)
    published(versions[0], include_data=True)
    assert [version for version in moves if version] == ["v1"]
    assert len(commits(hub)) > 1


def test_how_many_commits_and_how_long_is_said_beforehand(hub, versions, monkeypatch):
    monkeypatch.setattr(publish_plan, "FILES_PER_COMMIT", 1)
    monkeypatch.setattr(publish_plan, "COMMITS_PER_HOUR", 4)
    line = foretell(str(versions[0]), settings(include_data=True))
    assert "at 4 commits an hour it takes at least" in line
    assert not hub.repos
    assert manifest_of(versions[0])["version"] in line

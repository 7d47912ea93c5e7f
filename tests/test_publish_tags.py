"""What publications leave: a tag on every version, also after a crash or a merge by a person, and what people changed in a repo."""

from __future__ import annotations

import contextlib

import pytest
from publications import REPO, published, settings, whole

from pipelines import publish_plan
from pipelines.errors import ConfigError, ShardmillError
from pipelines.publish import foretell

# --- tags


def test_a_version_that_lost_its_tag_to_a_crash_gets_it_before_main_leaves_it(quick_hub, versions):
    with quick_hub.fail("cut", matching="/tag/", times=None), pytest.raises(ShardmillError):
        published(versions[0])
    repo = quick_hub.repo(REPO)
    first = repo.head()
    assert not repo.tags
    notes = []
    published(versions[1], note=notes.append)
    assert repo.tags == {"v1": first, "v2": repo.head()}
    assert any("v1 has no tag yet" in note for note in notes)


@pytest.mark.parametrize("fault", ["cut", "lose_answer"])
@pytest.mark.parametrize("nth", [1, 2])
def test_the_tag_moves_to_the_commit_that_has_the_data(quick_hub, versions, fault, nth):
    """Published without data and then with them, `revision="v1"` has them too; also where the move of the tag breaks off."""
    published(versions[0])
    with quick_hub.fail(fault, matching="/tag/", nth=nth, times=None), contextlib.suppress(ShardmillError):
        published(versions[0], include_data=True)
    published(versions[0], include_data=True)
    repo = quick_hub.repo(REPO)
    assert repo.tags == {"v1": repo.head()}
    assert any(path.startswith("data/") for path in repo.tree("v1"))
    assert not published(versions[0], include_data=True).changed


def test_a_tag_with_the_data_stays_when_they_are_taken_from_main(hub, versions):
    published(versions[0], include_data=True)
    first = hub.repo(REPO).head()
    published(versions[0])
    assert hub.repo(REPO).tags == {"v1": first}


# --- what people do in a repo


def test_a_manifest_that_somebody_deleted_comes_back(hub, versions):
    published(versions[0], include_data=True)
    repo = hub.repo(REPO)
    repo.seed({"manifest.json": None})
    assert published(versions[0], include_data=True).changed
    assert whole(repo.tree()) == "v1"
    repo.seed({"manifest.json": None})
    published(versions[1], include_data=True)
    assert whole(repo.tree()) == "v2"
    repo.seed({"manifest.json": None, "versions/v2/manifest.json": b"{}"})
    with pytest.raises(ConfigError, match="holds something else"):
        published(versions[1], include_data=True)


def test_a_card_that_people_changed_in_a_pull_request_stays(hub, versions):
    published(versions[0])
    done = published(versions[1], create_pr=True)
    repo = hub.repo(REPO)
    repo.seed({"README.md": repo.tree(done.pull.ref)["README.md"] + b"\nOur note.\n"}, done.pull.ref)
    assert not published(versions[1], create_pr=True).changed
    repo.merge(done.pull.number, "a person")
    assert published(versions[1]).changed  # its tag
    assert repo.tree("v2")["README.md"].endswith(b"Our note.\n")


def test_a_pull_request_that_nobody_can_merge_any_more_gives_way_to_a_new_one(hub, versions):
    published(versions[0])
    first = published(versions[1], create_pr=True)
    repo = hub.repo(REPO)
    repo.seed({"README.md": repo.tree()["README.md"] + b"\nOur note.\n"})
    again = published(versions[1], create_pr=True)
    assert again.changed
    assert repo.pulls[first.pull.number].status == "closed"
    repo.merge(again.pull.number, "a person")
    assert whole(repo.tree()) == "v2"


@pytest.mark.parametrize("per_commit", [5, 100])
def test_what_a_gitignore_names_is_published_all_the_same(hub, versions, monkeypatch, per_commit):
    """The Hub leaves out, without a word, what a .gitignore in the repo names."""
    monkeypatch.setattr(publish_plan, "FILES_PER_COMMIT", per_commit)
    repo = hub.create(REPO, {".gitignore": b"*.parquet\nversions/*\n"}, private=True)
    published(versions[0], include_data=True)
    tree = repo.tree()
    assert tree.pop(".gitignore")
    assert whole(tree) == "v1"


# --- said beforehand


def test_a_dry_run_refuses_what_publishing_refuses(hub, versions):
    hub.create(REPO)
    with pytest.raises(ConfigError, match="the repo is public"):
        foretell(str(versions[0]), settings(private=True))
    with pytest.raises(ShardmillError, match="its owner is none of yours"):
        foretell(str(versions[0]), settings("strangers/small"))
    line = foretell(str(versions[0]), settings(private=False, create_pr=True))
    assert "of a pull request for a person to merge" in line
    published(versions[0], private=False)
    repo = hub.repo(REPO)
    assert "there is nothing to do" in foretell(str(versions[0]), settings(private=False))
    del repo.tags["v1"]
    assert "its tag, which is to be set" in foretell(str(versions[0]), settings(private=False))
    repo.create_tag("v1", repo.history()[0].oid)
    with pytest.raises(ShardmillError, match="names something else"):
        foretell(str(versions[0]), settings(private=False))


def test_a_repo_is_no_output_to_publish_from(hub, versions):
    published(versions[0])
    for include_data in (False, True):
        with pytest.raises(ConfigError, match="expected an output, found a repo of the Hub"):
            published(f"hf://datasets/{REPO}", include_data=include_data, repo_id="org/copy")
    assert hub.repos == (REPO,)


# --- waiting


def test_a_commit_that_is_refused_for_some_seconds_is_made_all_the_same(quick_hub, versions):
    """503 of the commit alone, twelve seconds long: longer than trying again at once would last."""
    began = quick_hub.clock.now
    with quick_hub.fail("status", matching="/commit/main", times=None, status=503) as rule:
        rule.hook = lambda _request: setattr(rule, "times", None if quick_hub.clock.now - began < 12 else rule.hits)
        assert published(versions[0]).changed
    assert whole(quick_hub.repo(REPO).tree()) == "v1"


def test_a_wait_of_no_seconds_is_not_believed_again_and_again(quick_hub, versions):
    """`Retry-After: 0`, for a minute: few requests are made meanwhile."""
    began = quick_hub.clock.now
    with quick_hub.fail("status", matching="/commit/main", times=None, status=429, retry_after=0) as rule:
        rule.hook = lambda _request: setattr(rule, "times", None if quick_hub.clock.now - began < 60 else rule.hits)
        published(versions[0])
    assert whole(quick_hub.repo(REPO).tree()) == "v1"
    assert rule.hits < 10

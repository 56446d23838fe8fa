"""``diff`` against git revisions, in a real repository."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

BASE = "version: 1\nterms: {ngram_penalty: {window: 64}}\n"
CHILD = "version: 1\nextends: ../base.yaml\ntargets: {shift: true}\n"


def git(*arguments: str) -> None:
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.invalid", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, *arguments], check=True, capture_output=True)


@pytest.fixture
def repo(tmp_path, monkeypatch, run) -> Path:
    """Make a repository with a parent and a child, in folders with spaces, and start in its root."""
    root = tmp_path / "a repository"
    (root / "my conf" / "sub").mkdir(parents=True)
    monkeypatch.chdir(root)
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    (root / "my conf" / "base.yaml").write_text(BASE)
    (root / "my conf" / "sub" / "child.yaml").write_text(CHILD)
    git("init", "-q", "-b", "main", ".")
    git("add", "-A")
    git("commit", "-q", "-m", "first")
    git("tag", "v1")
    return root


def edit(path: str, old: str, new: str) -> None:
    file = Path(path)
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))


def rows(ran) -> list[tuple]:
    assert (ran.code, ran.err) == (0, ""), ran.err
    return [
        (item["class"], item["path"], item["before"], item["after"], item["file"], item["line"]) for item in ran.json
    ]


@pytest.mark.parametrize("revision", ["HEAD", "main", "v1", "main~0"])
def test_a_change_of_a_parent_counts_and_is_in_the_parents_file(run, repo, revision):
    edit("my conf/base.yaml", "64", "128")
    expected = [("objective", "terms.ngram_penalty.window", 64, 128, "my conf/base.yaml", 2)]
    child = "my conf/sub/child.yaml"
    assert rows(run("diff", "--against", revision, child, "--format", "json")) == expected
    assert rows(run("diff", f"{revision}:{child}", child, "--format", "json")) == expected
    git("commit", "-qam", "second")
    assert rows(run("diff", f"v1:{child}", f"HEAD:{child}", "--format", "json")) == expected
    assert rows(run("diff", "--against", "HEAD", child, "--format", "json")) == []


def test_from_a_folder_below_the_root(run, repo, monkeypatch):
    edit("my conf/base.yaml", "64", "128")
    monkeypatch.chdir(repo / "my conf" / "sub")
    expected = [("objective", "terms.ngram_penalty.window", 64, 128, "../base.yaml", 2)]
    for before in ("HEAD:my conf/sub/child.yaml", "HEAD:./child.yaml", "HEAD:child.yaml"):
        assert rows(run("diff", before, "child.yaml", "--format", "json")) == expected
    assert rows(run("diff", "--against", "HEAD", "child.yaml", "--format", "json")) == expected
    (row,) = rows(run("diff", "--against", "HEAD", repo / "my conf" / "sub", "--format", "json"))
    assert row[4] == str(repo / "my conf" / "base.yaml")


def test_folders_at_a_revision(run, repo):
    edit("my conf/base.yaml", "64", "128")
    Path("my conf/new.yaml").write_text(BASE)
    Path("my conf/sub/child.yaml").unlink()
    expected = [
        ("objective", "terms.ngram_penalty.window", 64, 128, "my conf/base.yaml", 2),
        ("breaking", "", None, "my conf/new.yaml", "my conf/new.yaml", 1),
        ("breaking", "", "my conf/sub/child.yaml", None, "my conf/sub/child.yaml", 1),
    ]
    assert rows(run("diff", "--against", "HEAD", "my conf", "--format", "json")) == expected
    assert rows(run("diff", "HEAD:my conf", "my conf", "--format", "json")) == expected
    assert rows(run("diff", "--against", "HEAD", ".", "--format", "json")) == expected
    git("add", "-A")
    git("commit", "-qm", "second")
    assert rows(run("diff", "v1:my conf", "main:my conf", "--format", "json")) == expected


def test_several_paths(run, repo):
    edit("my conf/base.yaml", "64", "128")
    changes = rows(run("diff", "--against", "HEAD", "my conf/base.yaml", "my conf/sub/child.yaml", "--format", "json"))
    assert len(changes) == 1  # the same change of the same line, once
    text = run("diff", "--against", "HEAD", "my conf/base.yaml", "my conf/sub/child.yaml").out
    assert text.count("terms.ngram_penalty.window") == 2
    assert "\n2 objective in 2 files.\n" in text


def test_a_file_absent_at_the_revision_is_new(run, repo):
    Path("new.yaml").write_text(BASE)
    for arguments in (["--against", "HEAD", "new.yaml"], ["HEAD:new.yaml", "new.yaml"]):
        ran = run("diff", *arguments, "--format", "json", "--exit-code")
        assert ran.code == 1
        assert [(item["class"], item["after"]) for item in ran.json] == [("breaking", "new.yaml")]
        assert ran.json[0]["consequence"] == "new: there is no new.yaml at HEAD"
    Path("new.yaml").write_text("version: [")
    ran = run("diff", "--against", "HEAD", "new.yaml", "--format", "json")
    assert [item["consequence"][:15] for item in ran.json] == ["new: there is n", "no longer loads"]


def test_a_deleted_file_is_breaking(run, repo):
    Path("my conf/sub/child.yaml").unlink()
    for arguments in (["--against", "HEAD"], ["HEAD:my conf/sub/child.yaml"]):
        ran = run("diff", *arguments, "my conf/sub/child.yaml", "--fail-on", "breaking", "--format", "json")
        assert ran.code == 1
        assert ran.json[0]["consequence"] == "deleted: there is no my conf/sub/child.yaml on the disk"


def test_a_deleted_parent_is_breaking(run, repo):
    Path("my conf/base.yaml").unlink()
    (change,) = run("diff", "--against", "HEAD", "my conf/sub/child.yaml", "--format", "json").json
    assert change["class"] == "breaking"
    assert change["consequence"].startswith("no longer loads: AVA")


def test_the_disk_is_not_read_for_a_revision(run, repo):
    """The parent at the revision loads, although the one on the disk does not."""
    edit("my conf/base.yaml", "version: 1", "version: [")
    assert rows(run("diff", "HEAD:my conf/sub/child.yaml", "v1:my conf/sub/child.yaml", "--format", "json")) == []


def test_presets_of_the_repository_are_those_of_the_revision(run, repo):
    Path("user.yaml").write_text("version: 1\nextends: base\n")
    git("add", "-A")
    git("commit", "-qm", "second")
    edit("my conf/base.yaml", "64", "128")
    arguments = ["--against", "HEAD", "user.yaml", "--preset-path", "my conf", "--format", "json"]
    assert [item[1:4] for item in rows(run("diff", *arguments))] == [("terms.ngram_penalty.window", 64, 128)]


def test_links_are_followed_inside_the_revision(run, repo):
    Path("link.yaml").symlink_to("my conf/base.yaml")
    Path("folder").symlink_to("my conf")
    git("add", "-A")
    git("commit", "-qm", "links")
    edit("my conf/base.yaml", "64", "128")
    for path in ("link.yaml", "folder/base.yaml"):
        assert [item[2:4] for item in rows(run("diff", "--against", "HEAD", path, "--format", "json"))] == [(64, 128)]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--against", "nonsense", "my conf/base.yaml"], "git knows no such revision"),
        (["nonsense:my conf/base.yaml", "my conf/base.yaml"], "git knows no such revision"),
        (["--against", "--help", "my conf/base.yaml"], "git knows no such revision"),
        (["--against", "HEAD", "none.yaml"], "there is no such file"),
        (["HEAD:none.yaml", "none.yaml"], "there is no such file"),
        (["HEAD:my conf", "my conf/base.yaml"], "a folder compares with a folder"),
        (["--against", "HEAD", "standard"], "a preset's name has no revisions"),
        (["--against", "HEAD", "/"], "outside the git repository"),
        (["HEAD:/my conf/base.yaml", "my conf/base.yaml"], "without `/`"),
    ],
)
def test_what_cannot_be_compared_is_2(run, repo, arguments, said):
    ran = run("diff", *arguments, "--format", "json")
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err


def test_outside_a_repository_and_without_git(run, repo, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    ran = run("diff", "--against", "HEAD", "my conf/base.yaml")
    assert (ran.code, ran.out) == (2, "")
    assert "git cannot be run" in ran.err
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    ran = run("diff", "--against", "HEAD", repo / "my conf" / "base.yaml")
    assert (ran.code, ran.out) == (2, "")
    assert "not in a git repository" in ran.err

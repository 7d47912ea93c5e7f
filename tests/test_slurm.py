"""The batch script takes any text unharmed, and the Slurm target says what Slurm says; with stand-ins for Slurm's commands."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from slurm_server import waited_for

from cluster import slurm_commands, slurm_node
from cluster.slurm import Slurm
from cluster.slurm_script import Places, SlurmOptions, quoted, render
from cluster.target import Job, JobState, TargetError
from pipelines.settings_submit_slurm import SlurmSubmit

ANYTHING = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=30) | st.text(
    "\n\r\t\\'\"$`!#%&|;<>(){}[]*?~ ab1\x01\x7f", min_size=1, max_size=30
)
WORDS = ("account=a&b", "--constraint=a b", "--comment='x'", "constraint", "--x=$(id)", "--x=#", "--X=1", "-N4", "--x=\n", "--job-name=x")
FAKE = """#!/bin/bash
printf '%s' "$*" >"$FAKE_FOLDER/$(basename "$0").arguments"
env >"$FAKE_FOLDER/$(basename "$0").environment"
cat >"$FAKE_FOLDER/$(basename "$0").input"
cat "$FAKE_FOLDER/$(basename "$0").out" 2>/dev/null
cat "$FAKE_FOLDER/$(basename "$0").err" >&2 2>/dev/null
exit "$(cat "$FAKE_FOLDER/$(basename "$0").status" 2>/dev/null || echo 0)"
"""


def options(**values):
    return SlurmOptions.of(SlurmSubmit.model_validate(values).model_dump())


def bash(script, *, check_only=False, **environment):
    command = ["bash", "-n"] if check_only else ["bash"]
    return subprocess.run([*command, "/dev/stdin"], input=script.encode(), capture_output=True, env=environment, timeout=60)


@settings(max_examples=60, deadline=None)
@given(st.lists(ANYTHING, min_size=1, max_size=20))
@example(["\x01f", "a\nb", "#SBATCH --x", "'\n'", "$'\\n'", "\r\n"])
def test_any_text_reaches_the_shell_unharmed(texts):
    """A quoted text is one word of one line, and means the text."""
    words = [quoted(text) for text in texts]
    assert not any(letter in word for word in words for letter in "\n\r")
    found = bash(f"printf '%s\\0' {' '.join(words)}").stdout
    assert found.decode() == "".join(f"{text}\0" for text in texts)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_any_text_in_any_setting_gives_a_script(data):
    """Whatever the settings, arguments and environment hold, bash reads the script, and each value arrives in it as it was."""
    text = data.draw(ANYTHING)
    found = options(setup=data.draw(st.lists(ANYTHING, max_size=3)), temp_folder="/tmp")
    arguments = ("run", text, *data.draw(st.lists(ANYTHING, max_size=3)))
    folder, python = Path("/jobs") / "a-1", data.draw(ANYTHING)
    job = Job("a-1", text, arguments, Path("/") / text.replace("/", ""), environment={"SHARDMILL_X": text})
    script = render(job, found, Places(folder, python))
    assert bash(script, check_only=True).returncode == 0
    assert "\r" not in script
    assert "\0" not in script
    head = script.partition("set_up()")[0]
    told = bash(head + '\nprintf \'%s\\0\' "$python" "$work_folder" "$SHARDMILL_X" "${arguments[@]}"').stdout.decode().split("\0")
    expected = [python, str(Path("/") / text.replace("/", "")), text, *arguments]
    assert told == [*expected, ""]
    commands = [line for line in script.splitlines() if line.startswith("#SBATCH")]
    assert len(commands) == 10, "no value begins a line that Slurm reads"


@pytest.mark.parametrize("line", ["if (", "'", "exit 7 #", "}", "fi; done", "set_up() {", "$(", "cat <<X", "\\"])
def test_a_line_of_setup_that_bash_cannot_read_fails_by_itself(line):
    """It is the line that fails; what is around it is read as it stands."""
    script = render(Job("a-1", "a", ("run", "f"), Path("/p")), options(setup=[line]), Places(Path("/j"), "python"))
    assert bash(script, check_only=True).returncode == 0


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_shellcheck_has_nothing_to_say():
    """The script that is rendered passes shellcheck."""
    script = render(Job("a-1", "a", ("run", "f"), Path("/p")), options(), Places(Path("/j"), "python"))
    done = subprocess.run(["shellcheck", "-s", "bash", "-"], input=script, text=True, capture_output=True)
    assert done.returncode == 0, done.stdout


def test_what_slurm_is_asked_for():
    """Each setting is one line for Slurm; what is left open is not asked for."""
    job = Job("fine-1", "fine", ("run", "f.yaml"), Path("/p"), secrets=("HF_TOKEN",))
    places = Places(Path("/jobs of 100%/fine-1"), "python")
    asked = [line.removeprefix("#SBATCH --") for line in render(job, options(), places).splitlines() if line.startswith("#SBATCH")]
    assert asked == [
        "job-name=fine-1",
        "dependency=singleton",
        'output="/jobs of 100%%/fine-1/output.log"',
        "open-mode=append",
        "nodes=1",
        "ntasks-per-node=1",
        "exclusive",
        "signal=B:USR1@90",
        "requeue",
        "export=ALL",
    ]
    given = options(
        partition="a,b", account="p1", qos="high", time="2-00:00:00", nodes=3, cpus_per_task=8, mem="64G", gres="gpu:1", requeues=0,
        export=["AWS_PROFILE"], sbatch_options=["--constraint=[a|b]&c", "--nice"],
    )  # fmt: skip
    asked = {line.removeprefix("#SBATCH --") for line in render(job, given, places).splitlines() if line.startswith("#SBATCH")}
    assert asked >= {"partition=a,b", "account=p1", "qos=high", "time=2-00:00:00", "nodes=3", "cpus-per-task=8", "mem=64G", "gres=gpu:1"}
    assert asked >= {"no-requeue", "export=AWS_PROFILE,HF_TOKEN,HOME,LANG,LOGNAME,PATH,SHELL,USER", "constraint=[a|b]&c", "nice"}


@pytest.mark.parametrize("folder", ['a"b', "a'b", "a\\b", "a\nb"])
def test_a_folder_that_slurm_cannot_read_is_refused(folder):
    """A log's path that a #SBATCH line cannot hold is an error that names the setting."""
    with pytest.raises(TargetError, match=r"submit\.slurm\.folder: .* cannot hold; choose a folder without"):
        Slurm.of(SlurmSubmit(folder=f"/{folder}").model_dump()).describe(Job("a-1", "a", ("run", "f"), Path("/p")))


@pytest.mark.parametrize("option", WORDS)
def test_an_option_of_sbatch_is_checked(option):
    """What is no option, needs quotes, or is the script's own is refused where it stands."""
    with pytest.raises(ValidationError, match=r"sbatch_options\[0\]: "):
        SlurmSubmit(sbatch_options=(option,))


def test_an_option_with_a_key_of_its_own_names_the_key():
    """The message says where to set it instead."""
    with pytest.raises(ValidationError, match=r"--mem is set by submit\.slurm\.mem"):
        SlurmSubmit(sbatch_options=("--mem=1G",))
    with pytest.raises(ValidationError, match=r"temp_folder: found 'tmp', expected a path from the root"):
        SlurmSubmit(temp_folder="tmp")


def test_a_node_starts_ray_with_what_slurm_gave_it_and_with_free_ports():
    """CPUs and memory are the step's, and no port is one that another job on the node would take."""
    given = {"SLURM_CPUS_ON_NODE": "4", "SLURM_MEM_PER_NODE": "1000"}
    head = slurm_node.ray_command(Path("/tmp/a"), None, 100 << 20, given)
    assert {"--head", "--port=0", "--num-cpus=4", f"--memory={900 << 20}", "--min-worker-port=0", "--temp-dir=/tmp/a"} < set(head)
    node = slurm_node.ray_command(Path("/tmp/a"), "h:1", 100 << 20, {"SLURM_MEM_PER_NODE": "0"})
    assert "--address=h:1" in node
    assert not [word for word in node if word.startswith(("--head", "--port", "--num-cpus", "--memory", "--ray-client"))]


# The target, with stand-ins for Slurm's commands


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Slurm's commands as stand-ins: they note how they were called, and answer what a test writes for them."""
    for name in ("sbatch", "squeue", "scontrol", "scancel"):
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(FAKE)
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_FOLDER", str(tmp_path))
    (tmp_path / "sbatch.out").write_text("77\n")
    return tmp_path


def target_in(folder, **values):
    return Slurm.of(SlurmSubmit(folder=str(folder / "jobs"), **values).model_dump())


JOB = Job("fine-1", "fine", ("run", "f.yaml"), Path("/p"))


def test_submitted_twice_it_is_once(fake):
    """The first submission hands the script over; with Slurm's memory of it gone, its folder still knows."""
    target = target_in(fake)
    assert target.submit(JOB)
    assert (fake / "sbatch.input").read_text() == target.describe(JOB) == (fake / "jobs/fine-1/script.sh").read_text()
    assert (fake / "sbatch.arguments").read_text() == "--parsable"
    assert stat.S_IMODE((fake / "jobs/fine-1").stat().st_mode) == 0o700
    (fake / "sbatch.input").unlink()
    assert not target.submit(JOB)
    assert not (fake / "sbatch.input").exists()
    status = target.status("fine-1")
    assert (status.state, status.exit_code) == (JobState.FAILED, None)
    assert "left no exit status" in status.message


@pytest.mark.parametrize(
    ("lines", "ended", "state", "code"),
    [
        ("", None, JobState.UNKNOWN, None),
        ("7|PENDING|Resources", None, JobState.PENDING, None),
        ("7|PENDING|BeginTime", "failed", JobState.PENDING, None),
        ("7|RUNNING|None", "succeeded", JobState.RUNNING, None),
        ("7|COMPLETING|None", None, JobState.RUNNING, None),
        ("7|COMPLETING|None", "succeeded", JobState.SUCCEEDED, 0),
        ("7|COMPLETED|None", None, JobState.SUCCEEDED, 4),
        ("7|CANCELLED|None", None, JobState.STOPPED, 4),
        ("7|NODE_FAIL|NodeDown", None, JobState.FAILED, 4),
        ("7|FAILED|NonZeroExitCode", "stopped", JobState.STOPPED, 130),
        ("9|RUNNING|None\n10|PENDING|Dependency", None, JobState.RUNNING, None),
        ("7|FAILED|x\n12|PENDING|a|b", None, JobState.PENDING, None),
        ("", "failed", JobState.FAILED, 1),
        ("7|FAILED|NonZeroExitCode", "nothing new", JobState.SUCCEEDED, 3),
    ],
)
def test_the_status_is_slurms_while_the_job_lives_and_its_own_afterwards(fake, lines, ended, state, code):
    """Of several jobs of a name the living one counts; the file of the trap says how a job ended better than Slurm."""
    target = target_in(fake)
    (fake / "squeue.out").write_text(lines + "\n")
    (fake / "scontrol.out").write_text("JobId=7 JobName=fine-1\n   JobState=X ExitCode=4:0\n")
    if ended is not None:
        (fake / "jobs/fine-1").mkdir(parents=True)
        codes = {"succeeded": 0, "failed": 1, "stopped": 130, "nothing new": 3}
        state_written = "succeeded" if ended == "nothing new" else ended
        text = json.dumps({"slurm_job_id": "7", "restarts": 0, "state": state_written, "exit_code": codes[ended], "message": "so"})
        (fake / "jobs/fine-1/exit").write_text(text)
    status = target.status("fine-1")
    assert (status.state, status.exit_code) == (state, code)


def test_a_job_that_is_being_queued_again_has_not_ended(fake):
    """Slurm counts the restart before the job waits again: what it wrote down at its end is then of the time before."""
    (fake / "jobs/fine-1").mkdir(parents=True)
    (fake / "jobs/fine-1/exit").write_text('{"slurm_job_id": "7", "restarts": 1, "state": "stopped", "exit_code": 130, "message": ""}')
    (fake / "squeue.out").write_text("7|COMPLETING|None\n")
    (fake / "scontrol.out").write_text("JobId=7 Requeue=1 Restarts=1 BatchFlag=1")
    assert target_in(fake).status("fine-1").state is JobState.STOPPED
    (fake / "scontrol.out").write_text("JobId=7 Requeue=1 Restarts=2 BatchFlag=2")
    assert target_in(fake).status("fine-1").state is JobState.PENDING


def test_a_signal_is_an_exit_status_as_in_a_shell(fake):
    """A job that a signal ended has 128 and the signal."""
    (fake / "scontrol.out").write_text("JobId=7 ExitCode=0:9 x")
    assert slurm_commands.exit_code("7") == 137
    (fake / "scontrol.status").write_text("1")
    assert slurm_commands.exit_code("7") is None


def test_slurm_that_does_not_answer_is_an_error_unless_the_end_is_known(fake):
    """Its words are handed on; a job whose end is written down needs no Slurm."""
    target = target_in(fake)
    (fake / "squeue.status").write_text("1")
    (fake / "squeue.err").write_text("squeue: error: Unable to contact slurm controller (connect failure)\n")
    with pytest.raises(TargetError, match=r"^squeue: Unable to contact slurm controller \(connect failure\); does `sinfo` answer"):
        target.submit(JOB)
    (fake / "jobs/fine-1/exit").write_text('{"slurm_job_id": "7", "restarts": 0, "state": "succeeded", "exit_code": 0, "message": ""}')
    assert target.status("fine-1").state is JobState.SUCCEEDED
    assert not target.submit(JOB)


def test_without_slurm_the_remedy_is_said(tmp_path, monkeypatch):
    """On a machine without Slurm's commands the error says where to go."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TargetError, match="is not on this machine; submit from a login node"):
        target_in(tmp_path).submit(JOB)


def test_a_folder_that_cannot_be_written_is_an_error(fake):
    """The message names the setting."""
    (fake / "jobs").write_text("a file")
    with pytest.raises(TargetError, match=r"submit\.slurm\.folder: .* cannot be written"):
        target_in(fake).submit(JOB)


def test_the_submitters_own_job_and_defaults_do_not_reach_the_script(fake, monkeypatch):
    """Of SLURM_ and SBATCH_ variables those go to sbatch that the script leaves open, and those that tell which Slurm."""
    for name in ("SLURM_JOB_ID", "SLURM_CPUS_PER_TASK", "SLURM_CONF", "SBATCH_PARTITION", "SBATCH_ACCOUNT", "SBATCH_EXPORT", "MY_SECRET"):
        monkeypatch.setenv(name, "x1")
    target_in(fake, partition="mine").submit(JOB)
    found = {line.partition("=")[0] for line in (fake / "sbatch.environment").read_text().splitlines()}
    assert found & {"SLURM_JOB_ID", "SLURM_CPUS_PER_TASK", "SBATCH_PARTITION", "SBATCH_EXPORT"} == set()
    assert found >= {"SLURM_CONF", "SBATCH_ACCOUNT", "MY_SECRET"}
    assert "x1" not in (fake / "sbatch.input").read_text()


def test_a_log_is_followed_to_its_last_line(fake):
    """Lines come while the job runs; the last one, without an end, when it has ended; bytes that are no text do no harm."""
    target = target_in(fake)
    folder = fake / "jobs/fine-1"
    folder.mkdir(parents=True)
    (fake / "squeue.out").write_text("7|RUNNING|None\n")
    (folder / "output.log").write_bytes(b"one\ntw")
    lines = target.logs("fine-1", follow=True)
    assert next(lines) == "one"
    with (folder / "output.log").open("ab") as log:
        log.write(b"o\xff\nlast")
    assert next(lines) == "two\ufffd"
    (folder / "exit").write_text('{"slurm_job_id": "7", "restarts": 0, "state": "succeeded", "exit_code": 0, "message": ""}')
    (fake / "squeue.out").write_text("")
    assert list(lines) == ["last"]
    assert list(target.logs("fine-1", follow=False)) == ["one", "two\ufffd", "last"]


def test_a_running_job_is_asked_and_an_ended_one_is_not(fake):
    """The signal goes to the batch script alone, which ends the rest in good order."""
    target = target_in(fake)
    (fake / "squeue.out").write_text("7|RUNNING|None\n")
    assert target.stop("fine-1")
    assert (fake / "scancel.arguments").read_text() == "--quiet --batch --signal=TERM 7"
    (fake / "squeue.out").write_text("7|COMPLETED|None\n")
    assert not target.stop("fine-1")


# What runs on a node


@pytest.fixture
def node(tmp_path):
    """Starts a node's Ray, with a stand-in for `ray start` of the given source."""

    def start(source):
        (tmp_path / "ray/scripts").mkdir(parents=True)
        for name, text in (("ray/__init__.py", ""), ("ray/scripts/__init__.py", ""), ("ray/scripts/scripts.py", source)):
            (tmp_path / name).write_text(text)
        command = [sys.executable, "-m", "cluster.slurm_node", "--temp", str(tmp_path / "t")]
        root = Path(slurm_node.__file__).parent.parent
        environment = os.environ | {"PYTHONPATH": f"{tmp_path}:{root}", "PYTHONSAFEPATH": "1"}
        return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)

    return start


SLOW = """
import pathlib, signal, sys
temp = next(word.partition('=')[2] for word in sys.argv if word.startswith('--temp-dir='))
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
pathlib.Path(temp).mkdir()
(pathlib.Path(temp) / 'ray_current_cluster').write_text('here:1')
signal.sigwait([signal.SIGTERM])
"""


def test_a_node_that_is_asked_to_end_leaves_nothing(node, tmp_path):
    """SIGTERM ends the Ray of the node, and its temporary folder is gone."""
    process = node(SLOW)
    waited_for((tmp_path / "t/r/ray_current_cluster").exists, "it has not started")
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=30) == (None, "")
    assert process.returncode == 0
    assert not (tmp_path / "t").exists()


def test_a_node_leaves_no_process_behind(node, tmp_path):
    """A process that lost its parent, and would go on by itself, ends with the node's Ray."""
    leave = "import os, subprocess; child = subprocess.Popen(['sleep', '1000'], start_new_session=True); print(child.pid, flush=True)"
    process = node(
        SLOW.replace(
            "signal.sigwait",
            f"subprocess.run([sys.executable, '-c', {leave!r}], stdout=open({str(tmp_path / 'pid')!r}, 'w'))\nsignal.sigwait",
        ).replace("import pathlib", "import pathlib, subprocess")
    )
    waited_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().endswith("\n"), "it has not started")
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=30) == (None, "")
    assert not Path("/proc", (tmp_path / "pid").read_text().strip()).exists()


def test_a_node_whose_ray_does_not_start_says_its_last_lines(node, tmp_path):
    """It is tried three times, with other ports; the reason is in the log, and nothing is left."""
    process = node("raise SystemExit('no port is free')")
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert said.count("  no port is free\n") == slurm_node.TRIES
    assert not (tmp_path / "t").exists()

# From here on the same for every job: cluster/slurm_job.sh of shardmill.
#
# Ray runs in job steps, one on each node (cluster/slurm_node.py); the driver runs here, beside the head. Whatever ends this script, its own
# trap ends the driver first, so that it gives back what it has taken, then the steps by their process ids, and removes what they leave.

set -euo pipefail
umask 077

readonly LOOK_SECONDS=0.5
readonly DRIVER_SECONDS=20 # less than the 30 s that Slurm leaves by default between SIGTERM and SIGKILL (KillWait)
readonly STEP_SECONDS=30
readonly FAILED=1 UNUSABLE=2 NOTHING_NEW=3 INTERRUPTED=130

asked='' driver='' head='' workers='' joining='' trouble='' status=$FAILED
count=${SLURM_RESTART_COUNT:-0}
temp=$temp_folder/sm-$SLURM_JOB_ID-$count
token=$job_folder/token-$SLURM_JOB_ID-$count

say() { printf 'slurm: %s\n' "$*" >&2; }

fail() { # STATUS MESSAGE: end the job; the trap does the rest
  status=$1 trouble=$2
  say "$2"
  exit "$1"
}

running() { [[ -n $1 ]] && kill -0 "$1" 2>/dev/null; }

pause() { # SECONDS: a signal ends it at once
  sleep "$1" &
  wait "$!" || true
}

gone_within() { # PID SECONDS: whether it has ended by then
  local until=$((SECONDS + $2))
  while running "$1"; do
    ((SECONDS < until)) || return 1
    sleep 0.2
  done
}

end() { # PID SECONDS: SIGTERM, and SIGKILL if that takes too long
  running "$1" || return 0
  kill -TERM "$1" 2>/dev/null
  gone_within "$1" "$2" || kill -KILL "$1" 2>/dev/null
}

record() { # STATE MESSAGE: how the job ended; appears whole or not at all
  printf '{"slurm_job_id": "%s", "restarts": %d, "state": "%s", "exit_code": %d, "message": "%s"}\n' \
    "$SLURM_JOB_ID" "$count" "$1" "$status" "$2" >"$job_folder/exit.new"
  mv -f -- "$job_folder/exit.new" "$job_folder/exit"
}

goes_on() { # whether the job is to be queued again: what stopped it is not the run's own doing
  [[ $status -ne 0 && $status -ne $NOTHING_NEW && $asked != stop && ($asked == time || $trouble == head) ]] && ((count < requeues))
}

queue_again() {
  scontrol requeue "$SLURM_JOB_ID" || return
  say "the job is queued again (restart $((count + 1)) of $requeues) and goes on where it is"
}

record_end() {
  if [[ $status -eq 0 ]]; then
    record succeeded ''
  elif [[ -n $driver && $status -eq $NOTHING_NEW ]]; then
    record succeeded 'nothing new'
  elif [[ $asked == stop ]]; then
    record stopped 'it was asked to stop; what it has committed stays, and a later run goes on there'
  elif [[ $asked == time ]]; then
    record failed 'the time limit is near; submitted again, it goes on where it is'
  elif [[ $trouble == head ]]; then
    record failed 'the head of its Ray has ended; submitted again, it goes on where it is'
  else
    record failed "${trouble//[[:cntrl:]\"\\]/}"
  fi
}

finish() {
  trap '' TERM INT HUP USR1
  trap - EXIT
  set +e
  running "$joining" && kill -TERM "$joining"
  if [[ -n $driver ]]; then
    end "$driver" "$DRIVER_SECONDS"
    wait "$driver"
    status=$?
    [[ $trouble != head || $status -eq 0 ]] || status=$FAILED # it was interrupted, but nobody asked for that
  elif [[ -n $asked ]]; then
    status=$INTERRUPTED
  fi
  goes_on || record_end # before the rest, which a SIGKILL may cut off; it counts when Slurm says that the job has ended
  end_steps
  rm -f -- "$token"
  if goes_on; then queue_again || record_end; fi
  exit "$status"
}

end_steps() { # by a signal to their tasks, which end in good order; SIGTERM to srun itself would kill them
  local step killed=''
  running "$head" || running "$workers" && scancel --quiet --signal=TERM "$SLURM_JOB_ID"
  for step in "$workers" "$head"; do
    gone_within "$step" "$STEP_SECONDS" || { killed=1 && end "$step" 2; }
  done
  rm -rf -- "$temp".*
  if [[ -n $killed && ${#others[@]} -gt 0 ]]; then # who ends in good order removes its own
    # shellcheck disable=SC2016  # expanded there
    srun "${on_others[@]}" bash -c 'rm -rf -- "$1".*' - "$temp" || true
  fi
}

trap 'asked=stop' TERM INT HUP
trap 'asked=${asked:-time}' USR1 # Slurm sends it before the time limit
trap finish EXIT
others=() on_others=()

wait_for_head() { # until the head's Ray has written its address
  local until=$((SECONDS + start_seconds))
  until [[ -s $temp.h/r/ray_current_cluster ]]; do
    [[ -z $asked ]] || exit "$INTERRUPTED"
    running "$head" || fail "$FAILED" "Ray did not start on $SLURMD_NODENAME; the lines above say why"
    ((SECONDS < until)) || fail "$FAILED" "Ray did not start on $SLURMD_NODENAME within $start_seconds s; raise submit.slurm.start_seconds if the node is slow"
    pause "$LOOK_SECONDS"
  done
}

wait_for_nodes() { # until all nodes have joined; what is wrong is said by the module
  "$python" -m cluster.slurm_joined --address "$1" --nodes "$SLURM_JOB_NUM_NODES" --seconds "$start_seconds" &
  joining=$!
  while running "$joining" && [[ -z $asked ]] && running "$head"; do pause "$LOOK_SECONDS"; done
  [[ -z $asked ]] || exit "$INTERRUPTED"
  running "$head" || fail "$FAILED" "Ray's head on $SLURMD_NODENAME has ended before the nodes had joined"
  wait "$joining" || fail "$FAILED" "not all of the $SLURM_JOB_NUM_NODES nodes have joined Ray"
  joining=''
}

watch() { # until the driver has ended or should end
  while running "$driver" && [[ -z $asked ]]; do
    if ! running "$head"; then
      trouble='head'
      say "Ray's head on $SLURMD_NODENAME has ended; the run cannot go on"
      return
    fi
    pause 1
  done
}

((count <= requeues)) || fail "$FAILED" "the job was restarted more than $requeues times; look for the reason before it is submitted again"
rm -f -- "$job_folder/exit"
cd -- "$work_folder" || fail "$UNUSABLE" "the folder of the pipeline is not on $SLURMD_NODENAME; keep it on a disk that all nodes share"
set +u # scripts that people source use variables that are not set
set_up
set -u
"$python" -c 'import cluster.supervise, pipelines.cli' || fail "$UNUSABLE" "$python has no shardmill on $SLURMD_NODENAME; set submit.slurm.python, or load it in submit.slurm.setup"

"$python" -c 'import secrets; print(secrets.token_hex(32))' >"$token"
unset RAY_ADDRESS RAY_API_SERVER_ADDRESS RAY_AUTH_TOKEN RAY_TMPDIR SLURM_EXPORT_ENV
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=$token RAY_USAGE_STATS_ENABLED=0 RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO=0

node=("$python" -m cluster.slurm_node --object-store-bytes "$object_store_bytes")
step=(--ntasks-per-node=1 --cpu-bind=none --export=ALL --input=none --kill-on-bad-exit=0 --wait=0)
srun --nodes=1 --ntasks=1 --nodelist="$SLURMD_NODENAME" "${step[@]}" "${node[@]}" --temp "$temp.h" &
head=$!
wait_for_head
address=$(<"$temp.h/r/ray_current_cluster")

mapfile -t others < <(scontrol show hostnames "$SLURM_JOB_NODELIST" | grep -vxF -- "$SLURMD_NODENAME" || true)
if [[ ${#others[@]} -gt 0 ]]; then
  on_others=(--nodes="${#others[@]}" --ntasks="${#others[@]}" --nodelist="$(IFS=,; printf '%s' "${others[*]}")" "${step[@]}")
  srun "${on_others[@]}" "${node[@]}" --temp "$temp.w" --address "$address" &
  workers=$!
fi
wait_for_nodes "$address"

"$python" -m cluster.supervise --restarts "$restarts" --grace "$((DRIVER_SECONDS - 3))" -- \
  shardmill "${arguments[@]}" --set cluster.type=ray --set "cluster.address=$address" &
driver=$!
watch

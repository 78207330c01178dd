#!/bin/sh
# Stands for Slurm's srun in a job of Millpond. The script of such a job runs on every node, so a step is what this
# node has to do of it: its tasks are started here with Slurm's variables, and the highest exit code is the step's.
set -f
die() {
  echo "srun: error: $1" >&2
  exit 1
}
pond_here=${0%/*}

pond_nodes='' pond_tasks='' pond_per_node='' pond_wanted='' pond_unwanted='' pond_skip=0 pond_cpus=${SLURM_CPUS_PER_TASK:-}
pond_alone='' pond_out='' pond_err='' pond_from='' pond_append='' pond_folder='' pond_label='' pond_bad_exit='' pond_plain='' pond_gpus=${SLURM_GPUS_PER_TASK:-}

# $1: the flag, $2: whether a value follows in the same word, $3: that value, $4: the next word.
# Sets `pond_took` to 1 when the next word was the value.
flag() {
  pond_took=0 pond_value=$3
  case $1 in
    # From `srun` outside of a job: the step is all of the job, and no node speaks for another.
    --alone) pond_alone=1; return ;;
    -l | --label) pond_label=1; return ;;
    -K | --kill-on-bad-exit) [ "$3" = 0 ] || pond_bad_exit=1; return ;;
    -u | --unbuffered | -Q | --quiet | -v | --verbose | -E | --preserve-env | -O | --overcommit | -X | --disable-status) return ;;
    -s | --oversubscribe | --exclusive | --overlap | --exact | --whole | --contiguous | --spread-job | --pty) return ;;
    --use-min-nodes | -k | --no-kill | -H | --hold | --propagate | --resv-ports) return ;;
    --multi-prog) die "--multi-prog is not there: start each program with an srun of its own and \`&\`" ;;
    --het-group | --het-group=*) die "there are no heterogeneous jobs: submit the parts as jobs of their own" ;;
    --bcast | --container*) die "$1 is not there: the job's image is \`#POND --image IMAGE\`, its files are the same on each node" ;;
  esac
  if [ -z "$2" ]; then
    [ "$4" != '' ] || die "$1 needs a value"
    pond_value=$4 pond_took=1
  fi
  case $1 in
    -n | --ntasks) pond_tasks=$pond_value ;;
    -N | --nodes) pond_nodes=${pond_value#*-} ;;
    --ntasks-per-node) pond_per_node=$pond_value ;;
    -c | --cpus-per-task) pond_cpus=$pond_value ;;
    -w | --nodelist) pond_wanted=$pond_value ;;
    -x | --exclude) pond_unwanted=$pond_value ;;
    -r | --relative) pond_skip=$pond_value ;;
    -o | --output) pond_out=$pond_value ;;
    -e | --error) pond_err=$pond_value ;;
    -i | --input) pond_from=$pond_value ;;
    --open-mode) case $pond_value in a*) pond_append=1 ;; *) pond_append='' ;; esac ;;
    -D | --chdir) pond_folder=$pond_value ;;
    --gpus-per-task) pond_gpus=${pond_value##*:} ;;
    --export) exports "$pond_value" ;;
    --jobid)
      [ "$pond_value" = "$SLURM_JOB_ID" ] || die "a step runs in its own job only; outside: \`pond exec $pond_value -- COMMAND\`" ;;
    --mpi)
      [ "$pond_value" = none ] || die "programs are not wired up by $1=$pond_value: write \`mpirun -n TASKS PROGRAM\` in place of srun" ;;
    -J | --job-name | -t | --time | -p | --partition | -A | --account | -q | --qos | -C | --constraint) ;;
    -G | --gpus | --gres | --gpus-per-node | --gpus-per-socket | --cpus-per-gpu | --ntasks-per-gpu | --tres-per-task) ;;
    --mem | --mem-per-cpu | --mem-per-gpu | --mem-bind | --cpu-bind | --gpu-bind | --cpu-freq | --gpu-freq) ;;
    -m | --distribution | --hint | --threads-per-core | --ntasks-per-core | --ntasks-per-socket | -B | --extra-node-info) ;;
    --comment | --signal | -W | --wait | -T | --threads | --network | --profile | --slurmd-debug | --licenses | -L) ;;
    *) die "$1 means nothing in a job here; leave it out" ;;
  esac
}

exports() {
  pond_rest=$1,
  while [ -n "$pond_rest" ]; do
    pond_part=${pond_rest%%,*} pond_rest=${pond_rest#*,}
    case $pond_part in
      *=*) export "${pond_part%%=*}=${pond_part#*=}" ;;
      NONE | NIL) echo "srun: --export=$pond_part is not kept: the task has the script's variables; use \`env -i\`" >&2 ;;
    esac
  done
}

while [ $# -gt 0 ]; do
  case $1 in
    --) shift; break ;;
    --*=*) flag "${1%%=*}" 1 "${1#*=}" '' ;;
    --*) flag "$1" '' '' "${2:-}" ;;
    -?) flag "$1" '' '' "${2:-}" ;;
    -?*)
      pond_rest=${1#-?} pond_took=0
      case $1 in
        -[luQvEOXskH]*)
          flag "${1%"$pond_rest"}" '' '' ''
          shift
          set -- "-$pond_rest" "$@"
          continue ;;
        *) flag "${1%"$pond_rest"}" 1 "${pond_rest#=}" '' ;;
      esac ;;
    *) break ;;
  esac
  shift
  [ "$pond_took" = 0 ] || shift
done
[ $# -gt 0 ] || die "no command to run: write srun [FLAGS] COMMAND [ARG]..."
for pond_number in "$pond_tasks" "$pond_nodes" "$pond_per_node" "$pond_skip" "$pond_cpus" "$pond_gpus"; do
  case $pond_number in *[!0-9]*) die "\`$pond_number\` is not a number" ;; esac
done

# Which nodes, by their numbers in the job; names tell nodes apart only where each has a name of its own.
pond_all=${POND_NODES:-1} pond_me=${POND_NODE_RANK:-0}
[ "${pond_nodes:-1}" -gt 0 ] && [ $((pond_skip + ${pond_nodes:-1})) -le "$pond_all" ] || die "the job has $pond_all nodes, not $((pond_skip + ${pond_nodes:-1}))"
pond_hosts=$("$pond_here/scontrol" show hostnames "$SLURM_JOB_NODELIST") || exit 1
named() {
  pond_list=$("$pond_here/scontrol" show hostnames "$1") || return 1
  echo "$pond_list" | while read -r pond_name; do
    case "
$pond_hosts
" in
      *"
$pond_name
"*) echo "$pond_name" ;;
      *) die "$pond_name is no node of this job: they are $SLURM_JOB_NODELIST" ;;
    esac
  done
}
[ -z "$pond_wanted" ] || pond_wanted=$(named "$pond_wanted") || exit 1
[ -z "$pond_unwanted" ] || pond_unwanted=$(named "$pond_unwanted") || exit 1
among() {
  case "
$2
" in *"
$1
"*) ;; *) return 1 ;; esac
}
pond_chosen='' pond_count=0 pond_rank=0
while [ "$pond_rank" -lt "$pond_all" ]; do
  pond_name=$(echo "$pond_hosts" | sed -n "$((pond_rank + 1))p")
  if [ "$pond_rank" -ge "$pond_skip" ] && { [ -z "$pond_nodes" ] || [ -n "$pond_wanted" ] || [ "$pond_count" -lt "$pond_nodes" ]; } &&
    { [ -z "$pond_wanted" ] || [ -z "$pond_name" ] || among "$pond_name" "$pond_wanted"; } &&
    { [ -z "$pond_unwanted" ] || [ -z "$pond_name" ] || ! among "$pond_name" "$pond_unwanted"; }; then
    pond_chosen="$pond_chosen $pond_rank" pond_count=$((pond_count + 1))
  fi
  pond_rank=$((pond_rank + 1))
done
[ "$pond_count" -gt 0 ] || die "no node of the job is left for this step"

# How many tasks, and which of them are here: as even as can be, the first nodes first.
if [ -z "$pond_tasks" ]; then
  pond_per_node=${pond_per_node:-${SLURM_NTASKS_PER_NODE:-}}
  if [ -n "$pond_per_node" ]; then
    pond_tasks=$((pond_per_node * pond_count))
  elif [ "$pond_count" = "$pond_all" ]; then
    pond_tasks=${SLURM_NTASKS:-$pond_count}
  else
    pond_tasks=$pond_count
  fi
fi
[ "$pond_tasks" -gt 0 ] || die "no task to run"
[ "$pond_tasks" -ge "$pond_count" ] || pond_count=$pond_tasks
pond_each=$((pond_tasks / pond_count)) pond_over=$((pond_tasks % pond_count))
pond_place=0 pond_mine='' pond_names='' pond_layout=''
for pond_rank in $pond_chosen; do
  [ "$pond_place" -lt "$pond_count" ] || break
  [ "$pond_rank" != "$pond_me" ] || pond_mine=$pond_place
  pond_names="$pond_names${pond_names:+,}$(echo "$pond_hosts" | sed -n "$((pond_rank + 1))p")"
  pond_place=$((pond_place + 1))
done
spread() {
  if [ "$2" = 1 ]; then echo "$1"; else echo "$1(x$2)"; fi
}
pond_layout=$(spread "$pond_each" $((pond_count - pond_over)))
[ "$pond_over" = 0 ] || pond_layout=$(spread $((pond_each + 1)) "$pond_over"),$pond_layout

# Every node hears the names and addresses of all: scripts ask for them with `srun hostname`.
answer() {
  pond_place=0
  for pond_rank in $pond_chosen; do
    [ "$pond_place" -lt "$pond_count" ] || break
    pond_here_too=$pond_each
    [ "$pond_place" -ge "$pond_over" ] || pond_here_too=$((pond_each + 1))
    while [ "$pond_here_too" -gt 0 ]; do
      echo "$1" | sed -n "$((pond_rank + 1))p"
      pond_here_too=$((pond_here_too - 1))
    done
    pond_place=$((pond_place + 1))
  done
  exit 0
}
if [ "$pond_all" -gt 1 ] && [ -z "$pond_out$pond_alone" ]; then
  case $* in
    hostname | 'hostname -s' | 'hostname -f' | 'hostname --short' | 'hostname --fqdn') answer "$pond_hosts" ;;
    'hostname -i' | 'hostname -I' | 'hostname --ip-address' | 'hostname --all-ip-addresses') answer "$POND_NODE_IPS" ;;
  esac
fi
[ -n "$pond_mine" ] || exit 0

pond_local_tasks=$pond_each pond_first=$((pond_mine * pond_each + pond_over))
if [ "$pond_mine" -lt "$pond_over" ]; then
  pond_local_tasks=$((pond_each + 1)) pond_first=$((pond_mine * (pond_each + 1)))
fi
[ -z "$pond_folder" ] || cd "$pond_folder" || exit 1
SLURM_NTASKS=$pond_tasks SLURM_NPROCS=$pond_tasks SLURM_STEP_NUM_TASKS=$pond_tasks SLURM_STEP_NUM_NODES=$pond_count SLURM_NNODES=$pond_count
SLURM_NODEID=$pond_mine SLURM_STEP_ID=0 SLURM_STEPID=0 SLURM_STEP_NODELIST=$pond_names
SLURM_STEP_TASKS_PER_NODE=$pond_layout SLURM_TASKS_PER_NODE=$pond_layout
WORLD_SIZE=$pond_tasks NODE_RANK=$pond_mine LOCAL_WORLD_SIZE=$pond_local_tasks
export SLURM_NTASKS SLURM_NPROCS SLURM_STEP_NUM_TASKS SLURM_STEP_NUM_NODES SLURM_NNODES SLURM_NODEID SLURM_STEP_ID
export SLURM_STEPID SLURM_STEP_NODELIST SLURM_STEP_TASKS_PER_NODE SLURM_TASKS_PER_NODE WORLD_SIZE NODE_RANK LOCAL_WORLD_SIZE
[ -z "$pond_cpus" ] || export SLURM_CPUS_PER_TASK="$pond_cpus"
# GPUs counted for each task: task n of this node sees the n-th so many.
if [ "${pond_gpus:-0}" -gt 0 ] && [ -n "${CUDA_VISIBLE_DEVICES:-}" ]; then
  pond_visible=$CUDA_VISIBLE_DEVICES
else
  pond_gpus=0
fi

# Becomes task $1 of this node.
task() {
  pond_local_id=$1
  shift
  export SLURM_LOCALID="$pond_local_id" SLURM_PROCID="$((pond_first + pond_local_id))"
  export LOCAL_RANK="$SLURM_LOCALID" RANK="$SLURM_PROCID"
  if [ "$pond_gpus" != 0 ]; then
    CUDA_VISIBLE_DEVICES=$(echo "$pond_visible" | cut -d, -f"$((pond_local_id * pond_gpus + 1))-$(((pond_local_id + 1) * pond_gpus))")
    SLURM_STEP_GPUS=$CUDA_VISIBLE_DEVICES
    export CUDA_VISIBLE_DEVICES SLURM_STEP_GPUS
  fi
  if [ -n "$pond_from" ] && [ "$pond_from" != all ]; then
    [ "$pond_from" != none ] || pond_from=/dev/null
    exec < "$("$pond_here/.path" "$pond_from")" || exit 1
  fi
  if [ -n "$pond_out" ]; then
    pond_to=$("$pond_here/.path" "$pond_out")
    [ -n "$pond_append" ] || : > "$pond_to" || exit 1
    exec >> "$pond_to" || exit 1
    [ -n "$pond_err" ] || exec 2>&1
  fi
  if [ -n "$pond_err" ]; then
    pond_to=$("$pond_here/.path" "$pond_err")
    [ -n "$pond_append" ] || : > "$pond_to" || exit 1
    exec 2>> "$pond_to" || exit 1
  fi
  if [ -n "$pond_label" ]; then
    pond_sed='sed -u'
    $pond_sed '' < /dev/null 2> /dev/null || pond_sed=sed
    { { { $pond_plain "$@" 2>&1 3>&- 4>&-; echo $? >&3; } | $pond_sed "s/^/$SLURM_PROCID: /" >&4; } 3>&1 | {
      read -r pond_code
      exit "$pond_code"
    }; } 4>&1
    exit $?
  fi
  exec $pond_plain "$@"
}
# Waits for a process, over the signals that come meanwhile; its code is in `pond_code`.
waited() {
  wait "$1"
  pond_code=$?
  while [ "$pond_code" -gt 128 ] && kill -0 "$1" 2> /dev/null; do
    wait "$1"
    pond_code=$?
  done
}

# A signal that is for the script alone (`--signal=B:`) comes to the whole group: a task that does not ask for it is spared.
case ${SBATCH_SIGNAL:-} in
  *B:*)
    pond_signal=${SBATCH_SIGNAL%@*} pond_signal=${pond_signal##*:}
    # But TERM: the pool's own stop is one.
    case $pond_signal in TERM | SIGTERM | 15) ;; *) trap '' "${pond_signal#SIG}" ;; esac ;;
esac

# One task: it takes this process's place.
if [ "$pond_local_tasks" = 1 ]; then
  task 0 "$@"
fi
# A file that several tasks write is emptied once, before any of them.
if [ -z "$pond_append" ]; then
  pond_at=0
  while [ "$pond_at" -lt "$pond_local_tasks" ]; do
    for pond_pattern in "$pond_out" "$pond_err"; do
      [ -n "$pond_pattern" ] || continue
      pond_to=$(SLURM_LOCALID=$pond_at SLURM_PROCID=$((pond_first + pond_at)) "$pond_here/.path" "$pond_pattern")
      : > "$pond_to" || exit 1
    done
    pond_at=$((pond_at + 1))
  done
  pond_append=1
fi
# What a shell starts in the background ignores INT and QUIT; here that is taken back from what does not ignore them itself.
case $1 in
  *=*) ;;
  *)
    pond_ignored=$(sed -n 's/^SigIgn:.*\(.\)$/\1/p' /proc/$$/status 2> /dev/null) pond_signals=''
    case $pond_ignored in [2367abef]) ;; *) pond_signals=INT ;; esac
    case $pond_ignored in [4567cdef]) ;; *) pond_signals=$pond_signals${pond_signals:+,}QUIT ;; esac
    [ -z "$pond_signals" ] || ! env --default-signal="$pond_signals" true 2> /dev/null || pond_plain="env --default-signal=$pond_signals" ;;
esac
exec 3<&0 4>&1
# Starts task $1. The first alone reads what the step is given.
start() {
  if [ "$1" = 0 ]; then
    (task "$@") <&3 >&4 3<&- 4>&- &
  else
    (task "$@") < /dev/null >&4 3<&- 4>&- &
  fi
}

# A shell that has a trap can lose a signal for a process that it has just forked: there are none while tasks start.
pond_at=0
if [ -n "$pond_bad_exit" ]; then
  # Each task's process, then its code; at the first that failed the others are ended, and their codes do not count.
  pond_code=$(
    while [ "$pond_at" -lt "$pond_local_tasks" ]; do
      {
        start "$pond_at" "$@"
        echo "$! started"
        # Without the shell's own words about how it ended.
        { wait $!; } 2> /dev/null
        echo "$! $?"
      } &
      pond_at=$((pond_at + 1))
    done | {
      pond_pids='' pond_highest=0
      while read -r pond_pid pond_code; do
        if [ "$pond_code" != started ]; then
          [ "$pond_code" != 0 ] && [ "$pond_highest" = 0 ] || continue
          pond_highest=$pond_code
          kill -TERM $pond_pids 2> /dev/null
        elif [ "$pond_highest" = 0 ]; then
          pond_pids="$pond_pids $pond_pid"
        else
          kill -TERM "$pond_pid" 2> /dev/null
        fi
      done
      echo "$pond_highest"
    }
  )
  exit "$pond_code"
fi
pond_pids=''
while [ "$pond_at" -lt "$pond_local_tasks" ]; do
  start "$pond_at" "$@"
  pond_pids="$pond_pids $!"
  pond_at=$((pond_at + 1))
done
trap 'kill -TERM $pond_pids 2> /dev/null' TERM INT HUP
pond_highest=0
for pond_pid in $pond_pids; do
  waited "$pond_pid"
  [ "$pond_code" -le "$pond_highest" ] || pond_highest=$pond_code
done
exit "$pond_highest"

#!/bin/sh
# Starts a script of Slurm's, which comes as "$@": sets Slurm's variables from the pool's own, and puts the stand-ins
# beside this file first on the PATH. A login bash sets that anew, so it gets them as functions as well.
pond_host=$(uname -n) pond_nodes=${POND_NODES:-1}
SLURM_JOB_ID=$POND_JOB_ID SLURM_JOBID=$POND_JOB_ID SLURM_NNODES=$pond_nodes SLURM_JOB_NUM_NODES=$pond_nodes
SLURM_NODEID=${POND_NODE_RANK:-0} SLURM_PROCID=${RANK:-${POND_NODE_RANK:-0}} SLURM_LOCALID=0
SLURM_GPUS_ON_NODE=${POND_GPUS_PER_NODE:-0} SLURM_RESTART_COUNT=$((${POND_ATTEMPT:-1} - 1))
SLURMD_NODENAME=$pond_host SLURM_CLUSTER_NAME=pond SLURM_TASK_PID=$$
SLURM_SUBMIT_DIR=${SLURM_SUBMIT_DIR:-$PWD} SLURM_SUBMIT_HOST=${SLURM_SUBMIT_HOST:-$pond_host}
export SLURM_JOB_ID SLURM_JOBID SLURM_NNODES SLURM_JOB_NUM_NODES SLURM_NODEID SLURM_PROCID SLURM_LOCALID
export SLURM_GPUS_ON_NODE SLURM_RESTART_COUNT SLURMD_NODENAME SLURM_CLUSTER_NAME SLURM_TASK_PID
export SLURM_SUBMIT_DIR SLURM_SUBMIT_HOST
SLURM_JOB_NODELIST=$pond_host
case $pond_host in
  "pond-$POND_JOB_ID-"*) [ "$pond_nodes" = 1 ] || SLURM_JOB_NODELIST="${pond_host%-*}-[0-$((pond_nodes - 1))]" ;;
esac
SLURM_NODELIST=$SLURM_JOB_NODELIST SLURM_JOB_NAME=${SLURM_JOB_NAME:-sbatch}
if [ -n "${SLURM_NTASKS_PER_NODE:-}" ] && [ -z "${SLURM_NTASKS:-}" ]; then
  SLURM_NTASKS=$((SLURM_NTASKS_PER_NODE * pond_nodes)) SLURM_NPROCS=$((SLURM_NTASKS_PER_NODE * pond_nodes))
  export SLURM_NTASKS SLURM_NPROCS
fi
spread() { if [ "$2" = 1 ]; then echo "$1"; else echo "$1(x$2)"; fi; }
pond_tasks=${SLURM_NTASKS:-$pond_nodes}
SLURM_TASKS_PER_NODE=$(spread $((pond_tasks / pond_nodes)) $((pond_nodes - pond_tasks % pond_nodes)))
if [ $((pond_tasks % pond_nodes)) != 0 ]; then
  SLURM_TASKS_PER_NODE=$(spread $((pond_tasks / pond_nodes + 1)) $((pond_tasks % pond_nodes))),$SLURM_TASKS_PER_NODE
fi
SLURM_CPUS_ON_NODE=${POND_CPUS:-1} SLURM_JOB_CPUS_PER_NODE=$(spread "${POND_CPUS:-1}" "$pond_nodes")
export SLURM_JOB_NODELIST SLURM_NODELIST SLURM_JOB_NAME SLURM_TASKS_PER_NODE SLURM_CPUS_ON_NODE SLURM_JOB_CPUS_PER_NODE
[ -z "${CUDA_VISIBLE_DEVICES:-}" ] || export SLURM_JOB_GPUS="$CUDA_VISIBLE_DEVICES"
[ -z "${POND_DEADLINE:-}" ] || export SLURM_JOB_END_TIME="$POND_DEADLINE"
[ -z "${USER:-}" ] || export SLURM_JOB_USER="$USER"
if [ -n "${POND_ARRAY_COUNT:-}" ]; then
  SLURM_ARRAY_JOB_ID=$POND_JOB_ID SLURM_ARRAY_TASK_ID=$POND_ARRAY_INDEX
  SLURM_ARRAY_TASK_COUNT=$POND_ARRAY_COUNT
  SLURM_ARRAY_TASK_MIN=$POND_ARRAY_MIN SLURM_ARRAY_TASK_MAX=$POND_ARRAY_MAX
  export SLURM_ARRAY_JOB_ID SLURM_ARRAY_TASK_ID SLURM_ARRAY_TASK_COUNT SLURM_ARRAY_TASK_MIN SLURM_ARRAY_TASK_MAX
fi
[ -z "${SBATCH_CHDIR:-}" ] || cd "$SBATCH_CHDIR" || exit 1
# `--signal`: so long before the time limit to all of the group, as before an eviction. What is meant for steps is not to
# end the script; what is meant for the script (`B:`) its steps are spared by `srun`.
if [ -n "${SBATCH_SIGNAL:-}" ]; then
  pond_signal=${SBATCH_SIGNAL%@*} pond_before=60
  case $SBATCH_SIGNAL in *@*) pond_before=${SBATCH_SIGNAL##*@} ;; esac
  pond_signal=${pond_signal##*:} pond_signal=${pond_signal#SIG}
  if [ -n "${POND_DEADLINE:-}" ]; then
    pond_rest=$((POND_DEADLINE - pond_before - $(date +%s)))
    # A grandchild, so that the script has no child that it did not start.
    [ "$pond_rest" -le 0 ] || ( (sleep "$pond_rest" && kill -s "$pond_signal" 0) > /dev/null 2>&1 & )
  fi
  # But TERM: the pool's own stop is one, and everybody hears it.
  case $SBATCH_SIGNAL:$pond_signal in *B:* | *:TERM | *:15) ;; *) trap '' "$pond_signal" ;; esac
fi
export PATH="$POND_SLURM:$PATH"
pond_login=''
case $1 in
  */bash | */env) for pond_word; do case $pond_word in -c) break ;; --login | -[!-]*l* | -l*) pond_login=1 ;; esac done ;;
esac
if [ -n "$pond_login" ]; then
  set -- env "BASH_FUNC_srun%%=() { \"$POND_SLURM/srun\" \"\$@\"; }" \
    "BASH_FUNC_scontrol%%=() { \"$POND_SLURM/scontrol\" \"\$@\"; }" "$@"
fi
[ -z "${SBATCH_INPUT:-}${SBATCH_OUTPUT:-}${SBATCH_ERROR:-}" ] || set -- "$POND_SLURM/.batch" "$@"
exec "$@"

#!/bin/bash
#SBATCH --job-name=fine-tune -N2
#SBATCH --ntasks-per-node 4 -c 8 --tmp=3G
#SBATCH --mem=64G --gres=gpu:a100:4,x:1 --gpus=8
#SBATCH -t 1-12:30 -p gpu
#SBATCH --array=0-9%4 --signal=B:USR1@120
#SBATCH --dependency=afterok:12:13,afterany:14
#SBATCH --no-requeue --export=ALL,L=3 --nice=3 --exclus
srun

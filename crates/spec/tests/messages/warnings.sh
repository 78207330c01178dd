#!/bin/bash
#SBATCH -N 2 -o a.log --constraint=fast
true

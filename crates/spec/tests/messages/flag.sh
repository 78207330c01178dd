#!/bin/bash
#SBATCH --mem=4G --output=a.log
#SBATCH --nodse=2
true

#!/bin/bash
#POND --nodes 4 --gpu H100:8 --time=24h # c
#POND --env "A=x y" --retry 3 --after 12
echo

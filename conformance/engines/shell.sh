#!/bin/bash
# A shell in the engines' root with all that checks have at hand.
# usage: shell.sh RUNTIME NAME
CHECKS=$(dirname "$(realpath "$0")")
export CHECKS RUNTIME=$1 NAME=$2 SLOW=1
exec bash --rcfile <(echo '. "$CHECKS/prelude.sh"; set +eEu; trap - ERR; PS1="engines \w # "') -i

#!/bin/bash
# Restores by object on MySQL: what is equal is not touched, what differs is as it was (objects.bash).
# TIMEOUT: 300
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/objects.bash"
objects mysql

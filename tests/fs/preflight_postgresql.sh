#!/bin/bash
# The checks before an upgrade, on PostgreSQL: what passes, what fails, what is said to do, and that no secret is printed.
# TIMEOUT: 200
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/preflight.bash"
preflight_case postgresql

#!/bin/bash
# entities/ and history/ on mysql: every entity of more than 100,000 rows by its name (METASNAP_ROWS: of so many).
# TIMEOUT: 300
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/entities.bash"
entities mysql "${METASNAP_ROWS:-100000}"

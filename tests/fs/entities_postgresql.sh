#!/bin/bash
# entities/ and history/ on postgresql: every entity of more than 100,000 rows by its name (METASNAP_ROWS: of so many).
# TIMEOUT: 300
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/entities.bash"
entities postgresql "${METASNAP_ROWS:-100000}"

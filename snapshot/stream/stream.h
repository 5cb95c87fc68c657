/*
 * snapshot/stream/stream.h - the streams of rows, and the store that most of them read, for those who use several.
 */
#pragma once

#include "snapshot/store/store.h"
#include "snapshot/stream/live_stream.h"
#include "snapshot/stream/merge.h"
#include "snapshot/stream/row_stream.h"
#include "snapshot/stream/sorter.h"
#include "snapshot/stream/version_stream.h"

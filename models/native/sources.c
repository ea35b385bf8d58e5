/* Which sources this library was compiled from. */
const char *heed_sources(void) { return HEED_SOURCES; }

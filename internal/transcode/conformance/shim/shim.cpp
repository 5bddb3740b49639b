// The five symbols of glibc 2.38 and libstdc++ 3.4.32 that the suite's runner wants, for machines with older ones. The
// C23 functions differ from their namesakes in accepting binary literals, which the runner never parses; the last is an
// initialisation that older libraries do by themselves.
#include <cstdlib>

extern "C" {
long __isoc23_strtol(const char *s, char **end, int base) { return std::strtol(s, end, base); }
long long __isoc23_strtoll(const char *s, char **end, int base) { return std::strtoll(s, end, base); }
unsigned long __isoc23_strtoul(const char *s, char **end, int base) { return std::strtoul(s, end, base); }
unsigned long long __isoc23_strtoull(const char *s, char **end, int base) { return std::strtoull(s, end, base); }
void _ZSt21ios_base_library_initv() {}
}

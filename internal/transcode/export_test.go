package transcode

// MaxCachedMasks is how many masks a compiler keeps.
const MaxCachedMasks = maxCachedMasks

// CachedMasks returns how many masks the compiler of a codec keeps.
func CachedMasks(c *Codec) int {
	m := &c.program.compiler.masks
	m.mu.RLock()
	defer m.mu.RUnlock()
	return len(m.masks)
}

// Command weaken makes the symbol version requirements of an ELF file weak, so that the dynamic
// linker of an older libc warns of a version that it lacks where it would have refused to start the
// program. The symbols themselves must still come from somewhere: run.sh preloads shim.cpp.
package main

import (
	"debug/elf"
	"errors"
	"fmt"
	"os"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: weaken FROM TO")
		os.Exit(2)
	}
	if err := weaken(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "weaken:", err)
		os.Exit(1)
	}
}

// weaken writes a copy of the program to a new file, with VER_FLG_WEAK set in each entry of
// .gnu.version_r.
func weaken(from, to string) error {
	data, err := os.ReadFile(from) //nolint:gosec // the path is the argument of the command
	if err != nil {
		return err
	}
	file, err := elf.Open(from)
	if err != nil {
		return fmt.Errorf("open %q: %w", from, err)
	}
	defer file.Close()
	section := file.Section(".gnu.version_r")
	if section == nil {
		return fmt.Errorf("%q has no .gnu.version_r", from)
	}
	if end := section.Offset + section.FileSize; end > uint64(len(data)) {
		return fmt.Errorf("%q ends before its .gnu.version_r does", from)
	}
	if err := setWeak(file, data[section.Offset:section.Offset+section.FileSize]); err != nil {
		return fmt.Errorf("change %q: %w", from, err)
	}
	return os.WriteFile(to, data, 0o755) //nolint:gosec // a program has to be executable
}

var errRange = errors.New("an entry of .gnu.version_r lies outside of it")

// setWeak walks the Verneed records, one for each library, and the Vernaux records of each, one for
// each version. Both are 16 bytes and end in the distance to the next one, zero at the last:
//
//	Verneed: version u16, number of Vernaux u16, file u32, distance to first Vernaux u32, next u32
//	Vernaux: hash u32, flags u16, index u16, name u32, next u32
func setWeak(file *elf.File, section []byte) error {
	const (
		record = 16
		weak   = 0x2
	)
	order := file.ByteOrder
	for need := uint64(0); ; {
		if need+record > uint64(len(section)) {
			return errRange
		}
		aux := need + uint64(order.Uint32(section[need+8:]))
		for {
			if aux+record > uint64(len(section)) {
				return errRange
			}
			flags := section[aux+4:]
			order.PutUint16(flags, order.Uint16(flags)|weak)
			next := uint64(order.Uint32(section[aux+12:]))
			if next == 0 {
				break
			}
			aux += next
		}
		next := uint64(order.Uint32(section[need+12:]))
		if next == 0 {
			return nil
		}
		need += next
	}
}

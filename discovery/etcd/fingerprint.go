package etcd

import (
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"slices"
	"strings"
)

// passwordRounds makes it ten thousand times as expensive to guess a password from its fingerprint,
// which is part of names that operators see. Loading a config takes a few milliseconds more.
const passwordRounds = 10_000

// fingerprinter hashes what tells two clients apart, part by part.
type fingerprinter struct{ h hash.Hash }

func newFingerprinter() fingerprinter { return fingerprinter{sha256.New()} }

// add hashes parts with their lengths, so that no two sequences of parts look the same.
func (f fingerprinter) add(parts ...[]byte) {
	for _, p := range parts {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(p)))
		f.h.Write(n[:])
		f.h.Write(p)
	}
}

func (f fingerprinter) sum() string { return hex.EncodeToString(f.h.Sum(nil)[:8]) }

// makeFingerprint returns a text that is equal for settings that make interchangeable clients.
func (s *settings) makeFingerprint() (string, error) {
	tlsID := ""
	if s.tls != nil {
		tlsID = s.tls.ID()
	}
	f := newFingerprinter()
	f.add([]byte(canonicalEndpoints(s.endpoints)), []byte(s.username), []byte(tlsID),
		fmt.Append(nil, s.dialTimeout, s.keepaliveTime, s.keepaliveTimeout, s.tls != nil))
	if s.password != "" {
		key, err := pbkdf2.Key(sha256.New, s.password, []byte("grpc_gateway etcd "+s.username), passwordRounds, sha256.Size)
		if err != nil {
			return "", fmt.Errorf("hashing the etcd password: %w", err)
		}
		f.add(key)
	}
	return f.sum(), nil
}

func canonicalEndpoints(endpoints []string) string {
	return strings.Join(slices.Sorted(slices.Values(endpoints)), ",")
}

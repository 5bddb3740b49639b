package clienttls

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// wantLog checks the lines of a log, by level and the beginning of the message.
func wantLog(t *testing.T, logs *observer.ObservedLogs, want ...string) {
	t.Helper()
	var got []string
	for _, e := range logs.All() {
		got = append(got, e.Level.String()+" "+e.Message)
	}
	if !slices.EqualFunc(got, want, strings.HasPrefix) {
		t.Errorf("log is %q, want %q", got, want)
	}
}

func TestRenewedPair(t *testing.T) {
	ca, f := newAuthority(t), newFiles(t)
	first, second := ca.issue(t), ca.issue(t)
	f.write(f.ca, ca.pem())
	f.writePair(first)
	c, logs := loaded(t, f.config())
	id, config := c.ID(), c.Config()
	if serial(c) != first.serial || c.Config() != config {
		t.Error("the config changes while the files do not")
	}
	f.writePair(second)
	if serial(c) != second.serial {
		t.Error("the renewed certificate is not used")
	}
	if config.Certificates[0].Leaf.SerialNumber.String() != first.serial {
		t.Error("a config that may be in use was changed")
	}
	if again, _ := loaded(t, f.config()); c.ID() != id || again.ID() != id {
		t.Error("a renewal changes the ID")
	}
	wantLog(t, logs, "info using the new client certificate")
	if fields := logs.All()[0].ContextMap(); fields["expires"] == nil || fields["files"] == nil {
		t.Errorf("the log has %v", fields)
	}
}

// A renewal writes the certificate and its key one after the other.
func TestHalfRenewedPair(t *testing.T) {
	ca, f := newAuthority(t), newFiles(t)
	first, second := ca.issue(t), ca.issue(t)
	f.write(f.ca, ca.pem())
	f.writePair(first)
	c, logs := loaded(t, f.config())
	f.writeFresh(f.cert, second.cert)
	if serial(c) != first.serial {
		t.Error("the good pair is not used")
	}
	wantLog(t, logs) // The key may be written just now.
	f.settle(f.cert)
	for range 3 {
		if serial(c) != first.serial {
			t.Error("the good pair is not used")
		}
	}
	wantLog(t, logs, "warn cannot use the new client certificate; keeping the last good one")
	reason := logs.All()[0].ContextMap()["error"].(string)
	if !strings.Contains(reason, f.cert+" with "+f.key) || !strings.Contains(reason, "private key does not match public key") {
		t.Errorf("the log says %q", reason)
	}
	f.writeFresh(f.key, second.key)
	if serial(c) != second.serial {
		t.Error("the completed pair is not used")
	}
	wantLog(t, logs, "warn cannot", "info using the new client certificate")
}

// What cannot be used leaves everything as it is, and is logged once. It is over once the file is
// good.
func TestBrokenFiles(t *testing.T) {
	ca, f := newAuthority(t), newFiles(t)
	intermediate := newAuthority(t)
	own := ca.issue(t)
	chain := append(slices.Clone(own.cert), intermediate.pem()...)
	for name, c := range map[string]struct {
		file  string
		spoil func(name string)
		want  string
	}{
		"certificate is missing":  {f.cert, func(name string) { os.Remove(name) }, "no such file"},
		"key is missing":          {f.key, func(name string) { os.Remove(name) }, "no such file"},
		"authority is missing":    {f.ca, func(name string) { os.Remove(name) }, "no such file"},
		"certificate is empty":    {f.cert, func(name string) { f.write(name, nil) }, "expected a certificate in PEM format, found none"},
		"key is empty":            {f.key, func(name string) { f.write(name, nil) }, "failed to find any PEM data in key input"},
		"authority is empty":      {f.ca, func(name string) { f.write(name, nil) }, "expected a certificate in PEM format, found none"},
		"chain is cut off":        {f.cert, func(name string) { f.write(name, chain[:len(chain)-40]) }, "found 1 complete of 2"},
		"authorities are cut off": {f.ca, func(name string) { f.write(name, append(ca.pem(), chain[:99]...)) }, "found 1 complete of 2"},
		"authority is no CA file": {f.ca, func(name string) { f.write(name, own.key) }, "found none"},
		"certificate is garbage": {f.ca, func(name string) {
			f.write(name, []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"))
		}, "parsing certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			f.write(f.ca, ca.pem())
			f.write(f.cert, chain)
			f.write(f.key, own.key)
			client, logs := loaded(t, f.config())
			before := client.Config()
			good, err := os.ReadFile(c.file)
			if err != nil {
				t.Fatal(err)
			}
			c.spoil(c.file)
			for range 3 {
				if client.Config() != before {
					t.Error("the config has changed")
				}
			}
			wantLog(t, logs, "warn cannot use the new")
			if reason := logs.All()[0].ContextMap()["error"].(string); !strings.Contains(reason, c.want) || !strings.Contains(reason, c.file) {
				t.Errorf("the log says %q, want %q", reason, c.want)
			}
			f.write(c.file, good)
			if client.Config() != before {
				t.Error("the config has changed, although the file is as before")
			}
			c.spoil(c.file)
			client.Config()
			wantLog(t, logs, "warn cannot use the new", "warn cannot use the new")
		})
	}
}

// One part that is broken does not hold up the other.
func TestBrokenPairWithNewAuthority(t *testing.T) {
	ca, f := newAuthority(t), newFiles(t)
	first := ca.issue(t)
	f.write(f.ca, ca.pem())
	f.writePair(first)
	c, logs := loaded(t, f.config())
	before := c.Config()
	f.write(f.key, ca.issue(t).key)
	f.write(f.ca, newAuthority(t).pem())
	if serial(c) != first.serial || c.Config().RootCAs.Equal(before.RootCAs) {
		t.Error("want the old certificate and the new authority")
	}
	wantLog(t, logs, "warn cannot use the new client certificate", "info using the new trusted certificates")
}

// Kubernetes swaps a symbolic link to the directory that has the files.
func TestSwappedDirectory(t *testing.T) {
	ca, f := newAuthority(t), newFiles(t)
	first, second := ca.issue(t), ca.issue(t)
	swap := func(version string, p pair) {
		t.Helper()
		dir := filepath.Join(f.dir, version)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		for name, content := range map[string][]byte{"client.pem": p.cert, "client.key": p.key, "ca.pem": ca.pem()} {
			f.write(filepath.Join(dir, name), content)
		}
		if err := os.Symlink(version, filepath.Join(f.dir, "..data_tmp")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(f.dir, "..data_tmp"), filepath.Join(f.dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	swap("..1", first)
	for _, name := range []string{f.cert, f.key, f.ca} {
		if err := os.Symlink(filepath.Join("..data", filepath.Base(name)), name); err != nil {
			t.Fatal(err)
		}
	}
	c, logs := loaded(t, f.config())
	if serial(c) != first.serial {
		t.Error("the first certificate is not used")
	}
	swap("..2", second)
	if serial(c) != second.serial {
		t.Error("the renewed certificate is not used")
	}
	if err := os.RemoveAll(filepath.Join(f.dir, "..1")); err != nil {
		t.Fatal(err)
	}
	if serial(c) != second.serial {
		t.Error("the renewed certificate is not used")
	}
	wantLog(t, logs, "info using the new client certificate")
}

// A file that is written in place twice within the resolution of its time may look unchanged. So
// may one that is copied with its time.
func TestSameSizeAndTime(t *testing.T) {
	f := newFiles(t)
	a, b := newAuthority(t), newAuthority(t)
	first, second := a.pem(), b.pem()
	size := max(len(first), len(second))
	pad := func(content []byte) []byte { return append(content, bytes.Repeat([]byte("\n"), size-len(content))...) }
	f.writeFresh(f.ca, pad(first))
	info, err := os.Stat(f.ca)
	if err != nil {
		t.Fatal(err)
	}
	config := f.config()
	config.ClientCertificateFile, config.ClientCertificateKeyFile = "", ""
	c, _ := loaded(t, config)
	before := c.Config()
	if err := os.WriteFile(f.ca, pad(second), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(f.ca, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
	if c.Config() == before {
		t.Error("the second content is not used")
	}

	f.settle(f.ca)
	if info, err = os.Stat(f.ca); err != nil {
		t.Fatal(err)
	}
	before = c.Config()
	f.writeFresh(f.ca, pad(first))
	if err := os.Chtimes(f.ca, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
	if c.Config() == before {
		t.Error("another file in its place is not used")
	}
}

// Files that do not change are not read for each handshake.
func TestUnchangedFilesAreNotRead(t *testing.T) {
	f, ca := newFiles(t), newAuthority(t)
	f.write(f.ca, ca.pem())
	f.writePair(ca.issue(t))
	c, logs := loaded(t, f.config())
	c.Config()
	infos := stat([]string{f.cert})
	// The content changes under the same size, time and inode, which no renewal does.
	if err := os.WriteFile(f.cert, bytes.Repeat([]byte("x"), int(infos[0].Size())), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(f.cert, infos[0].ModTime(), infos[0].ModTime()); err != nil {
		t.Fatal(err)
	}
	c.Config()
	if n := logs.FilterLevelExact(zapcore.WarnLevel).Len(); n != 0 {
		t.Error("the file was read again")
	}
}

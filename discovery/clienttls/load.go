package clienttls

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"go.uber.org/zap"
	"google.golang.org/grpc/credentials"
)

// Load makes the TLS of a client. It reads files and does not use the network. It leaves config as
// it is. The result may outlive the config that ctx belongs to.
//
// It follows the client certificate and its key, and trusted certificates of the module file, of
// the module combined if it has only files and inline certificates, and of the deprecated lists.
func Load(ctx caddy.Context, config *reverseproxy.TLSConfig) (*Client, error) {
	return load(ctx, config, func() *zap.Logger { return caddy.Log().Named("grpc_gateway.tls") })
}

func load(ctx caddy.Context, config *reverseproxy.TLSConfig, log func() *zap.Logger) (*Client, error) {
	resolved := *config
	var err error
	if resolved.ServerName, err = caddy.NewReplacer().ReplaceOrErr(config.ServerName, true, true); err != nil {
		return nil, fmt.Errorf("server_name: %w", err)
	}
	raw, err := json.Marshal(resolved) // before the CA module is loaded, which empties its part
	if err != nil {
		return nil, err
	}
	compiled, err := resolved.MakeTLSClientConfig(ctx)
	if err != nil {
		return nil, err
	}
	if compiled == nil { // all default
		compiled = new(tls.Config)
	}
	c := &Client{base: compiled, info: credentials.NewTLS(compiled).Info()}
	id := sha256.New()
	id.Write(raw)
	if cert, key := config.ClientCertificateFile, config.ClientCertificateKeyFile; cert != "" {
		c.pair = followPair(cert, key, log)
		if err := c.pair.load(); err != nil {
			return nil, fmt.Errorf("client certificate: %w", err)
		}
	}
	ca, err := trusted(config)
	if err != nil {
		return nil, err
	}
	switch files, ok := caFiles(ca); {
	case !ok:
		// A reload makes new connections if the contents have changed.
		if err := hashFiles(id, ca); err != nil {
			return nil, err
		}
	case len(files) > 0:
		c.trust = followTrust(files, ca, log)
		if err := c.trust.load(); err != nil {
			return nil, fmt.Errorf("trusted certificates: %w", err)
		}
	}
	c.compileLocked()
	c.id = hex.EncodeToString(id.Sum(nil))
	return c, nil
}

// followPair follows a client certificate and its key.
func followPair(cert, key string, log func() *zap.Logger) *followed[tls.Certificate] {
	return &followed[tls.Certificate]{
		what: "client certificate", names: []string{cert, key}, log: log,
		parse: func(contents [][]byte) (tls.Certificate, error) {
			if err := checkComplete(cert, contents[0]); err != nil {
				return tls.Certificate{}, err
			}
			pair, err := tls.X509KeyPair(contents[0], contents[1])
			if err != nil {
				err = fmt.Errorf("%s with %s: %w", cert, key, err)
			}
			return pair, err
		},
		note: func(pair tls.Certificate) []zap.Field {
			return []zap.Field{zap.String("expires", pair.Leaf.NotAfter.UTC().Format(time.RFC3339))}
		},
	}
}

// followTrust follows the files of a CA module.
func followTrust(files []string, ca json.RawMessage, log func() *zap.Logger) *followed[*x509.CertPool] {
	return &followed[*x509.CertPool]{
		what: "trusted certificates", names: files, log: log,
		parse: func(contents [][]byte) (*x509.CertPool, error) {
			for i, name := range files {
				if err := checkComplete(name, contents[i]); err != nil {
					return nil, err
				}
			}
			return loadPool(ca)
		},
		note: func(*x509.CertPool) []zap.Field { return nil },
	}
}

// hashFiles writes the contents of the files that a CA module names to sum. They are those of the
// module file, at any depth. The pool that was made of them cannot be read back.
func hashFiles(sum io.Writer, ca json.RawMessage) error {
	names, err := pemFiles(ca)
	if err != nil {
		return err
	}
	for _, name := range names {
		content, err := os.ReadFile(name)
		if err != nil {
			return fmt.Errorf("reading trusted certificates: %w", err)
		}
		if _, err := sum.Write(content); err != nil {
			return err
		}
	}
	return nil
}

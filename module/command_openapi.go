package module

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/caddy-grpc/gateway/internal/openapi"
)

func openAPICommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "openapi [--config <path> [--adapter <name>]] [--handler <number>] [--format json|yaml] [--version 3.1|3.2] " +
			"[--server <url>]... [--timeout <duration>]",
		Short: "Prints the OpenAPI document of a handler",
		Long: `
Prints the OpenAPI document that a handler of a config file serves, or would serve with the option openapi. It
starts no server. If all schemas are in files, it opens no connection. A schema that is read by reflection is asked of
the instances of the service, which are found as the gateway finds them.

Without --config the Caddyfile in the current directory is used. If the config has several handlers, the one with
the option openapi is taken. If there is no such handler or more than one, --handler chooses: 1 is the first one in the
list that the error shows.

The exit code is 1 if the config is wrong, if --handler has to choose, and if a schema is not known within the timeout.
Then nothing is printed.`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	addConfigFlags(cmd)
	cmd.Flags().Int("handler", 0, "Number of the handler, from 1")
	cmd.Flags().String("format", "json", "json or yaml")
	cmd.Flags().String("version", "", "Version of OpenAPI, 3.1 or 3.2. Default: that of the config")
	cmd.Flags().StringArray("server", nil, "Base URL of the API. Default: that of the config, or none")
	cmd.Flags().Duration("timeout", 30*time.Second, "How long to wait for schemas that are read by reflection")
	formats := cobra.FixedCompletions([]string{"json", "yaml"}, cobra.ShellCompDirectiveNoFileComp)
	_ = cmd.RegisterFlagCompletionFunc("format", formats) // The flag exists.
	cmd.RunE = exits(printOpenAPI)
	return cmd
}

func printOpenAPI(cmd *cobra.Command, _ []string) error {
	format, _ := cmd.Flags().GetString("format")
	if format != "json" && format != "yaml" {
		return fmt.Errorf("format %q: expected json or yaml", format)
	}
	config, err := loadConfig(cmd)
	if err != nil {
		return err
	}
	app, err := provisioned(config)
	if err != nil {
		return err
	}
	defer func() { _ = app.Cleanup() }() // The process ends anyway.
	number, _ := cmd.Flags().GetInt("handler")
	h, err := app.handlerToDescribe(number)
	if err != nil {
		return err
	}
	timeout, _ := cmd.Flags().GetDuration("timeout")
	ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
	defer cancel()
	if err := h.learn(ctx); err != nil {
		return err
	}
	document, err := h.printable(cmd, format)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s\n", strings.TrimRight(string(document), "\n"))
	return err
}

// loadConfig reads the config of the flags --config and --adapter.
func loadConfig(cmd *cobra.Command) (*caddy.Config, error) {
	file, _ := cmd.Flags().GetString("config")
	adapter, _ := cmd.Flags().GetString("adapter")
	raw, used, _, err := caddycmd.LoadConfig(file, adapter)
	if err != nil {
		return nil, err
	}
	if used == "" {
		return nil, errors.New("there is no config: expected --config, or a Caddyfile in the current directory")
	}
	return decodeConfig(raw)
}

// handlerToDescribe returns the handler with the number, which counts from 1. If it is 0, there
// must be only one, or only one with the option openapi.
func (a *App) handlerToDescribe(number int) (*Handler, error) {
	if len(a.handlers) == 0 {
		return nil, errors.New("the config has no grpc_gateway handler")
	}
	var names []string
	var described []*Handler
	for i, h := range a.handlers {
		name := fmt.Sprintf("%d (%s)", i+1, h.title())
		if h.OpenAPI != nil {
			described = append(described, h)
			name = fmt.Sprintf("%d (%s, with openapi)", i+1, h.title())
		}
		names = append(names, name)
	}
	switch {
	case number >= 1 && number <= len(a.handlers):
		return a.handlers[number-1], nil
	case number != 0:
		return nil, fmt.Errorf("handler %d: expected one of %s", number, strings.Join(names, ", "))
	case len(a.handlers) == 1:
		return a.handlers[0], nil
	case len(described) == 1:
		return described[0], nil
	default:
		return nil, fmt.Errorf("the config has several grpc_gateway handlers, choose one with --handler: %s", strings.Join(names, ", "))
	}
}

// learn waits until all schemas of the handler are known. It connects to the upstreams whose schema
// is not in files.
func (h *Handler) learn(ctx context.Context) error {
	if h.routing.table.Load().Pending == "" {
		return nil
	}
	labelUpstreams(h.app.all())
	for _, m := range h.routing.table.Load().members {
		if m.schema == nil {
			m.upstream.start()
		}
	}
	for _, m := range h.routing.table.Load().members {
		if m.schema != nil {
			continue
		}
		if err := m.upstream.schema.follower().Wait(ctx); err != nil {
			return fmt.Errorf("the schema of the upstream %s is not known: %w", m.upstream.label(), err)
		}
	}
	h.routing.refresh()
	if t := h.routing.table.Load(); t.Pending != "" {
		return errors.New(t.Pending)
	}
	return h.routing.table.Load().Check()
}

// printable makes the document of the handler.
func (h *Handler) printable(cmd *cobra.Command, format string) ([]byte, error) {
	d, err := h.descriptionFor(cmd)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.from = descriptionSource{h.routing.table.Load().Table, d.comments.get()}
	document, err := d.document("")
	if err != nil || format == "json" {
		return document, err
	}
	return openapi.YAML(document)
}

// descriptionFor is the description of the handler, with what the flags change.
func (h *Handler) descriptionFor(cmd *cobra.Command) (*description, error) {
	options := OpenAPI{}
	if h.OpenAPI != nil {
		options = *h.OpenAPI
	}
	if version, _ := cmd.Flags().GetString("version"); version != "" {
		options.Version = version
	}
	if servers, _ := cmd.Flags().GetStringArray("server"); len(servers) > 0 {
		options.Servers = servers
	}
	options.Docs, options.Descriptors = off, off
	h.OpenAPI = &options
	compiled, err := h.compileOptions()
	if err != nil {
		return nil, err
	}
	return h.describe(&compiled)
}

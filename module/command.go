package module

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/caddy-grpc/gateway/internal/routes"
)

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "grpc-gateway",
		Usage: "routes | upstreams | catalog | call | openapi",
		Short: "Shows and describes what the gRPC gateway does, and calls through it",
		Long: `
Shows the routes and upstreams of the gRPC gateway, of a running server or of a config file, and makes calls through
a running one. Prints the OpenAPI document of a config file.`,
		CobraFunc: addCommands,
	})
}

func addCommands(cmd *cobra.Command) {
	cmd.AddCommand(routesCommand(), upstreamsCommand(), catalogCommand(), callCommand(), openAPICommand())
}

func routesCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "routes [--config <path> [--adapter <name>]] [--address <admin>] [--json]",
		Short: "Prints the compiled route tables",
		Long: `
Prints which HTTP requests call which RPC at which upstream, and what does not work as it is written.

With --config the tables are compiled from that file, without starting anything. Schemas in files are read. If a
schema is read by reflection, the running server is asked for its tables instead. Without --config the running
server is asked at once.

The exit code is 1 if the config is wrong or no server answers. Problems in routes do not change it.`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().StringP("config", "c", "", "Config file to compile")
	cmd.Flags().StringP("adapter", "a", "", "Name of the config adapter")
	addCommonFlags(cmd)
	cmd.RunE = exits(func(cmd *cobra.Command, _ []string) error {
		handlers, err := findRoutes(cmd)
		if err != nil {
			return err
		}
		return show(cmd, handlers, func(w io.Writer) error { return printRoutes(w, handlers) })
	})
	return cmd
}

func upstreamsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "upstreams [--address <admin>] [--json]",
		Short: "Prints the upstreams and instances of a running server",
		Args:  cobra.NoArgs,
	}
	addCommonFlags(cmd)
	cmd.RunE = exits(func(cmd *cobra.Command, _ []string) error {
		var upstreams []UpstreamView
		if err := askAdmin(adminAddress(cmd, nil), upstreamsPath, &upstreams); err != nil {
			return err
		}
		return show(cmd, upstreams, func(w io.Writer) error { return printUpstreams(w, upstreams, time.Now()) })
	})
	return cmd
}

func catalogCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "catalog [--address <admin>] [--json]",
		Short: "Prints the catalogs of a running server, their services, and why some of these cannot be called",
		Args:  cobra.NoArgs,
	}
	addCommonFlags(cmd)
	cmd.RunE = exits(func(cmd *cobra.Command, _ []string) error {
		var catalogs []CatalogView
		if err := askAdmin(adminAddress(cmd, nil), catalogPath, &catalogs); err != nil {
			return err
		}
		return show(cmd, catalogs, func(w io.Writer) error { return printCatalogs(w, catalogs, time.Now()) })
	})
	return cmd
}

func callCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "call [--address <url>] [--header <name: value>]... [--json] <package.Service/Method> [<json>]",
		Short: "Makes one call through the gateway",
		Long: `
Calls a method with a request message in JSON and prints the answer. "-" reads the message from the standard
input. The default is an empty message. The messages of a stream are printed as they come, one a line.

The exit code is 0 if the call succeeded. It is 1 if the call failed, if a stream ended in an error, if there was
no answer, and if the arguments are wrong.`,
		Args: cobra.RangeArgs(1, 2),
	}
	cmd.Flags().String("address", "http://localhost:80", "Address of the site with the gateway")
	cmd.Flags().StringArrayP("header", "H", nil, "Request header, name: value")
	cmd.Flags().Duration("timeout", 30*time.Second, "How long to wait for the answer")
	cmd.Flags().Bool("json", false, "Print HTTP status, headers and body as JSON")
	cmd.RunE = exits(call)
	return cmd
}

func addCommonFlags(cmd *cobra.Command) {
	cmd.Flags().String("address", "", "Address of the admin API of the running server")
	cmd.Flags().Bool("json", false, "Print JSON")
}

// exits makes a command. An error of run is printed, and the exit code is 1. The error may have the
// text of a server, so it is made printable.
func exits(run func(cmd *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		cmd.SilenceUsage = true
		if err := run(cmd, args); err != nil {
			return printableError{err}
		}
		return nil
	}
}

// show prints a value as JSON or in words.
func show(cmd *cobra.Command, v any, words func(io.Writer) error) error {
	if asJSON, _ := cmd.Flags().GetBool("json"); !asJSON {
		return words(cmd.OutOrStdout())
	}
	out, err := marshal(v, "\t")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(cmd.OutOrStdout(), string(out))
	return err
}

// findRoutes takes the tables from the config file, or from the running server.
func findRoutes(cmd *cobra.Command) ([]HandlerView, error) {
	file, _ := cmd.Flags().GetString("config")
	adapter, _ := cmd.Flags().GetString("adapter")
	if file == "" {
		var handlers []HandlerView
		err := askAdmin(adminAddress(cmd, nil), routesPath, &handlers)
		return handlers, err
	}
	raw, _, _, err := caddycmd.LoadConfig(file, adapter)
	if err != nil {
		return nil, err
	}
	config, err := decodeConfig(raw)
	if err != nil {
		return nil, err
	}
	handlers, err := routesOf(config)
	if err != nil {
		return nil, err
	}
	return completeRoutes(cmd, handlers, raw), nil
}

func decodeConfig(raw []byte) (*caddy.Config, error) {
	var config *caddy.Config
	if err := caddy.StrictUnmarshalJSON(caddy.RemoveMetaFields(raw), &config); err != nil {
		return nil, fmt.Errorf("decoding config: %w", err)
	}
	return config, nil
}

// completeRoutes asks the running server for the tables if the config file does not lead to all
// schemas.
func completeRoutes(cmd *cobra.Command, handlers []HandlerView, raw []byte) []HandlerView {
	complete := true
	for i := range handlers {
		complete = complete && handlers[i].Pending == ""
	}
	if complete {
		return handlers
	}
	address := adminAddress(cmd, raw)
	var live []HandlerView
	if err := askAdmin(address, routesPath, &live); err != nil {
		sayf(cmd.ErrOrStderr(), "Some schemas are read by reflection, which only a running server does, and none answers at %s: "+
			"only the routes from files are known.\n", address)
		return handlers
	}
	sayf(cmd.ErrOrStderr(), "Some schemas are read by reflection, which only a running server does: "+
		"these are the routes of the server at %s.\n", address)
	return live
}

// adminAddress returns the address of the flag, of the config, or Caddy's default.
func adminAddress(cmd *cobra.Command, config []byte) string {
	if address, _ := cmd.Flags().GetString("address"); address != "" {
		return address
	}
	var parsed struct {
		Admin struct {
			Listen string `json:"listen"`
		} `json:"admin"`
	}
	if err := json.Unmarshal(config, &parsed); err == nil && parsed.Admin.Listen != "" {
		return parsed.Admin.Listen
	}
	return caddy.DefaultAdminListen
}

// askAdmin gets JSON from the admin API.
func askAdmin(address, path string, into any) error {
	resp, err := caddycmd.AdminAPIRequest(address, http.MethodGet, path, nil, nil)
	if err != nil {
		return fmt.Errorf("asking the admin API at %s: %w", address, err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		return fmt.Errorf("reading the answer of the admin API at %s: %w", address, err)
	}
	return nil
}

func newCall(cmd *cobra.Command, args []string) (*http.Request, error) {
	rpc := strings.TrimPrefix(args[0], "/")
	if err := routes.CheckRPC(rpc); err != nil {
		return nil, err
	}
	message := []byte("{}")
	if len(args) == 2 {
		message = []byte(args[1])
	}
	if string(message) == "-" {
		var err error
		if message, err = io.ReadAll(cmd.InOrStdin()); err != nil {
			return nil, fmt.Errorf("reading the message: %w", err)
		}
	}
	address, _ := cmd.Flags().GetString("address")
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	req, err := http.NewRequestWithContext(cmd.Context(), http.MethodPost, strings.TrimSuffix(address, "/")+"/"+rpc, bytes.NewReader(message))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	headers, _ := cmd.Flags().GetStringArray("header")
	for _, h := range headers {
		name, value, ok := strings.Cut(h, ":")
		if !ok {
			return nil, errors.New(`header: expected "name: value"`)
		}
		req.Header.Add(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	return req, nil
}

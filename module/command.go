package module

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "grpc-gateway",
		Usage: "routes | upstreams | catalog | call | openapi",
		Short: "Shows and describes what the gRPC gateway does, and calls through it",
		Long: `
Shows the routes and upstreams of the gRPC gateway, of a running server or of a config file, and makes calls through
a running one. Prints the OpenAPI document of a config file.

` + exitCodesHelp,
		CobraFunc: addCommands,
	})
}

func addCommands(cmd *cobra.Command) {
	cmd.AddCommand(routesCommand(), upstreamsCommand(), catalogCommand(), callCommand(), openAPICommand())
}

func routesCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "routes [--config <path> [--adapter <name>]] [--address <admin>] [--insecure | --cacert <file>] [--json] " +
			"[--check | --watch[=<interval>]] [<package.Service[/Method]>...]",
		Short: "Prints the compiled route tables",
		Long: `
Prints which HTTP requests call which RPC at which upstream, and what does not work as it is written. With arguments
it shows only the routes of these services or methods. A "*" stands for any text.

With --config the tables are compiled from that file, without starting anything. Schemas in files are read. If a
schema is read by reflection, the running server is asked for its tables instead. Without --config the running
server is asked at once. --watch always asks the running server, and --config then only says where that is.

With --check the exit code is 6 if something does not work as it is written, or if the methods of an upstream are not
known. Without it, problems do not change the exit code.

` + exitCodesHelp,
	}
	tables := view[HandlerView]{
		open: openRoutes, choose: chooseRoutes, check: checkRoutes,
		write: func(w io.Writer, handlers []HandlerView, _ time.Time) error { return printRoutes(w, handlers) },
	}
	tables.addTo(cmd)
	return cmd
}

func upstreamsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "upstreams [--config <path> [--adapter <name>]] [--address <admin>] [--insecure | --cacert <file>] [--json] " +
			"[--check | --watch[=<interval>]] [<name>...]",
		Short: "Prints the upstreams and instances of a running server",
		Long: `
Prints the upstreams of a running server with the state of their registry, schema and instances. With names it shows
only these upstreams. --config finds the admin endpoint of the server in a config file.

With --check the exit code is 6 if calls to one of the upstreams cannot succeed: none of its instances takes calls, or
its methods are not known. Without it, the state of the upstreams does not change the exit code.

` + exitCodesHelp,
	}
	upstreams := view[UpstreamView]{open: ask[UpstreamView](upstreamsPath), choose: chooseUpstreams, check: checkUpstreams, write: printUpstreams}
	upstreams.addTo(cmd)
	return cmd
}

func catalogCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "catalog [--config <path> [--adapter <name>]] [--address <admin>] [--insecure | --cacert <file>] [--json] " +
			"[--check | --watch[=<interval>]] [<catalog or service>...]",
		Short: "Prints the catalogs of a running server, their services, and why some of these cannot be called",
		Long: `
Prints the catalogs of a running server. With names it shows only these catalogs, or only these services of catalogs.
--config finds the admin endpoint of the server in a config file.

With --check the exit code is 6 if one of the services cannot be called, or if nothing is known of a registry. Without
it, the state of the services does not change the exit code.

` + exitCodesHelp,
	}
	catalogs := view[CatalogView]{open: ask[CatalogView](catalogPath), choose: chooseCatalogs, check: checkCatalogs, write: printCatalogs}
	catalogs.addTo(cmd)
	return cmd
}

func callCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "call [--config <path> [--adapter <name>]] [--address <url>] [--insecure | --cacert <file>] [--header <name: value>]... " +
			"[--timeout <duration>] [--json] <package.Service/Method> [<json> | -]",
		Short: "Makes one call through the gateway",
		Long: `
Calls a method with a request message in JSON and prints the answer. "-" reads the message from the standard
input. The default is an empty message. The messages of a stream are printed as they come, one a line.

--config finds the site with the gateway in a config file. If the gateway is at several addresses, --address has to
choose. The connection then goes to this machine, even if the site has a public name.

A call that fails with a gRPC status ends with the exit code 64 plus the status, as that of grpcurl does: 69 is
NOT_FOUND. No answer within the timeout is DEADLINE_EXCEEDED, 68.

` + exitCodesHelp,
		Args:              cobra.RangeArgs(1, 2),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	addConfigFlags(cmd)
	addTLSFlags(cmd)
	cmd.Flags().String("address", defaultSite, "Address of the site with the gateway")
	cmd.Flags().StringArrayP("header", "H", nil, "Request header, name: value")
	cmd.Flags().Duration("timeout", 30*time.Second, "How long to wait for the answer")
	cmd.Flags().Bool("json", false, "Print HTTP status, headers and body as JSON")
	cmd.RunE = exits(call)
	return cmd
}

func addConfigFlags(cmd *cobra.Command) {
	cmd.Flags().StringP("config", "c", "", "Config file")
	cmd.Flags().StringP("adapter", "a", "", "Name of the config adapter")
}

func addTLSFlags(cmd *cobra.Command) {
	cmd.Flags().Bool("insecure", false, "Do not verify the certificate of an https address")
	cmd.Flags().String("cacert", "", "File of the certificate authorities to trust at an https address, in PEM")
	cmd.MarkFlagsMutuallyExclusive("insecure", "cacert")
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

// openRoutes returns what takes the tables from the config file, or from the running server.
func openRoutes(cmd *cobra.Command) (reader[HandlerView], error) {
	file, _ := cmd.Flags().GetString("config")
	if file == "" || cmd.Flags().Changed("watch") {
		return ask[HandlerView](routesPath)(cmd)
	}
	raw, err := readConfig(cmd)
	if err != nil {
		return nil, err
	}
	config, err := decodeConfig(raw)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) ([]HandlerView, error) {
		handlers, err := routesOf(config)
		if err != nil {
			return nil, err
		}
		return completeRoutes(ctx, cmd, handlers, raw), nil
	}, nil
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
func completeRoutes(ctx context.Context, cmd *cobra.Command, handlers []HandlerView, raw []byte) []HandlerView {
	complete := true
	for i := range handlers {
		complete = complete && handlers[i].Pending == ""
	}
	if complete {
		return handlers
	}
	var live []HandlerView
	a, err := adminOf(cmd, raw)
	if err == nil {
		err = a.ask(ctx, routesPath, &live)
	}
	if err != nil {
		sayf(cmd.ErrOrStderr(), "Some schemas are read by reflection, which only a running server does, and none answers (%s): "+
			"only the routes from files are known.\n", err)
		return handlers
	}
	sayf(cmd.ErrOrStderr(), "Some schemas are read by reflection, which only a running server does: "+
		"these are the routes of the server at %s.\n", a.address)
	return live
}

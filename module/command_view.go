package module

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// view is a command that shows a list: of upstreams, of handlers or of catalogs.
type view[T any] struct {
	// open returns what reads the whole list. It looks at the flags and the config file once.
	open func(cmd *cobra.Command) (reader[T], error)
	// choose returns the part with the names. An error says which name there is not.
	choose func(all []T, names []string) ([]T, error)
	// check says what does not work.
	check func(shown []T) []string
	// write writes the list for people.
	write func(w io.Writer, shown []T, now time.Time) error
}

// reader reads a list.
type reader[T any] = func(ctx context.Context) ([]T, error)

// addTo makes cmd the command.
func (v *view[T]) addTo(cmd *cobra.Command) {
	addConfigFlags(cmd)
	addTLSFlags(cmd)
	cmd.Flags().String("address", "", "Address of the admin API of the running server, or its URL")
	cmd.Flags().Bool("json", false, "Print JSON")
	cmd.Flags().Bool("check", false, "End with exit code 6 if something that is shown does not work")
	cmd.Flags().DurationP("watch", "w", 0, "Show it again and again, by default each second, until Ctrl-C. Other intervals: --watch=5s")
	cmd.Flags().Lookup("watch").NoOptDefVal = "1s"
	cmd.MarkFlagsMutuallyExclusive("check", "watch")
	cmd.ValidArgsFunction = cobra.NoFileCompletions
	cmd.RunE = exits(v.run)
}

func (v *view[T]) run(cmd *cobra.Command, names []string) error {
	read, err := v.open(cmd)
	if err != nil {
		return err
	}
	if cmd.Flags().Changed("watch") {
		return v.watch(cmd, read, names)
	}
	shown, err := v.get(cmd.Context(), read, names)
	if err != nil {
		return err
	}
	if err := show(cmd, shown, func(w io.Writer) error { return v.write(w, shown, time.Now()) }); err != nil {
		return err
	}
	if check, _ := cmd.Flags().GetBool("check"); check {
		if bad := v.check(shown); len(bad) > 0 {
			return &commandError{exitUnhealthy, errors.New(some(bad, "; "))}
		}
	}
	return nil
}

// get returns what is to be shown.
func (v *view[T]) get(ctx context.Context, read reader[T], names []string) ([]T, error) {
	all, err := read(ctx)
	if err != nil || len(names) == 0 {
		return all, err
	}
	return v.choose(all, names)
}

// text is what is to be shown, as it is printed. JSON is one line.
func (v *view[T]) text(ctx context.Context, read reader[T], names []string, asJSON bool) (string, error) {
	shown, err := v.get(ctx, read, names)
	if err != nil {
		return "", err
	}
	if asJSON {
		line, err := marshal(shown, "")
		return string(line) + "\n", err
	}
	var out bytes.Buffer
	err = v.write(&out, shown, time.Now())
	return out.String(), err
}

// some lists texts. It leaves out those that would make the list long.
func some(texts []string, separator string) string {
	const most = 20
	if len(texts) <= most {
		return strings.Join(texts, separator)
	}
	return fmt.Sprintf("%s%sand %d more", strings.Join(texts[:most], separator), separator, len(texts)-most)
}

// Package cli is what the program authprofile does.
//
// Each command is a function in a file of its own that takes the app and returns
// a cobra.Command; newRoot lists them. A command opens the database by app.open,
// writes by the methods of output, and returns an error, of which exit.go makes a
// line and an exit code.
package cli

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"syscall"

	"github.com/spf13/cobra"
)

// Main runs the program with the arguments and the environment of the process,
// and returns its exit code.
func Main() int {
	// A write to a closed pipe would end the process, perhaps between the answer
	// of a provider and its way to the database. It is an error instead.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), ending()...)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once

	a := &app{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, env: takeEnvironment(), browse: openBrowser}
	return a.run(ctx, os.Args[1:])
}

// ending returns the signals that end the program: also that of a terminal that is
// gone, such as when an SSH connection has broken. Those that it was started to
// ignore, as by nohup, it ignores.
func ending() []os.Signal {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP}
	return slices.DeleteFunc(signals, signal.Ignored)
}

// run runs one command line. Whatever comes of it, what was renewed is stored
// before it returns.
func (a *app) run(ctx context.Context, args []string) int {
	root := newRoot(a)
	root.SetArgs(args)
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	err := root.ExecuteContext(ctx)
	err = errors.Join(err, a.close(ctx))
	return a.report(ctx, err)
}

// Root returns the command with all others below it, for their documentation.
func Root() *cobra.Command { return newRoot(&app{}) }

// newRoot returns the command that has all others below it.
func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "authprofile",
		Short: "Keep OAuth 2.0 credentials, and print access tokens that are valid",
		Long: `Authprofile keeps OAuth 2.0 credentials and prints access tokens that are valid.

A profile says how an application is registered at a provider. A grant is what
the provider has issued for a profile and a user. Both are in a database, with
their secrets encrypted under the keys of a key ring. Services that use the
library authprofile can share the database: a grant is renewed by one process at
a time, of whichever program.

DATABASE

The database is named by --store, or by AUTHPROFILE_STORE:

  sqlite:PATH            a file, which only its owner can read
  postgres://HOST/NAME   PostgreSQL; the other settings of pgx can follow after "?"
  mysql://HOST/NAME      MySQL or MariaDB; those of go-sql-driver/mysql likewise

Without either it is the file authprofile/authprofile.db in the user's
configuration folder. A password in --store is refused, since other users of the
machine could see it: put the address into AUTHPROFILE_STORE, or for PostgreSQL
the password into ~/.pgpass or PGPASSWORD.

KEYS

The key ring is a file, named by --keys or AUTHPROFILE_KEYS, which only its owner
can read; without either it is the file keys beside the default database. The
command that makes a database, "profile add" or "profile apply", makes it. Each of
its lines has the ID of a key and its 32 bytes in base64:

  2026-11 3q2+7wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=

The first key encrypts, all of them decrypt; "authprofile help key" says how to
exchange it. AUTHPROFILE_KEYS can hold the keys
themselves instead of the path of a file: it is then "keys:" and after it the IDs
and keys, separated by spaces. If the keys are lost, so is every secret in the
database: each application needs a new one, and each user has to connect anew.

EXIT CODES

  0  success
  1  an error that has to be mended
  2  the command line is wrong
  4  a user has to authorize: standard error has the command to run
  5  it fails for now: try later`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Version:       version(),
		RunE:          needsCommand,
		Args:          cobra.ArbitraryArgs,
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return usageError{cmd: cmd, problem: err.Error()} })
	flags := root.PersistentFlags()
	flags.StringVar(&a.flags.store, "store", "", "`address` of the database: sqlite:PATH, postgres://… or mysql://… (AUTHPROFILE_STORE)")
	flags.StringVar(&a.flags.keys, "keys", "", "`file` with the key ring (AUTHPROFILE_KEYS)")
	flags.StringVar(&a.flags.providers, "providers", "", "JSON `file` with providers beside the built-in ones (AUTHPROFILE_PROVIDERS)")
	flags.StringVar(&a.flags.tablePrefix, "table-prefix", "", "how the names of the tables begin, if not by \"authprofile_\" (AUTHPROFILE_TABLE_PREFIX)")
	flags.BoolVarP(&a.flags.verbose, "verbose", "v", false, "say on standard error what is done")
	root.AddCommand(
		newGrant(a),
		newKey(a),
		newServe(a),
		newStatus(a),
		newProvider(a),
		newProfile(a),
		newConnect(a),
		newToken(a),
		newTest(a),
		newHelper(a),
	)
	strict(root)
	return root
}

// strict makes cobra's own commands fail if they are asked for what there is not: they
// would show help, and succeed.
func strict(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		switch cmd.Name() {
		case "help":
			show := cmd.Run
			cmd.Run = nil
			cmd.RunE = func(cmd *cobra.Command, args []string) error {
				if found, rest, err := root.Find(args); err != nil || len(rest) > 0 {
					return needsCommand(found, rest)
				}
				show(cmd, args)
				return nil
			}
		case "completion":
			cmd.RunE, cmd.Args = needsCommand, cobra.ArbitraryArgs
		}
	}
}

// version returns the version of the module that the program was built from.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(unknown)"
}

// needsCommand is what a command does that has others below it: without one of
// them it prints its help, and fails if it was given another word.
func needsCommand(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		problem := "there is no command \"" + cmd.CommandPath() + " " + clean(args[0]) + "\""
		cmd.SuggestionsMinimumDistance = 2
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			problem += ": did you mean \"" + near[0] + "\"?"
		}
		return usageError{cmd: cmd, problem: problem}
	}
	return cmd.Help()
}

// group returns a command that only has others below it.
func group(use, short, long string, below ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Long: long, RunE: needsCommand, Args: cobra.ArbitraryArgs}
	cmd.AddCommand(below...)
	return cmd
}

// args returns a check that a command has so many arguments, at least and at most.
func args(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return usageError{cmd: cmd, problem: "an argument is missing"}
		case len(args) > most:
			return usageError{cmd: cmd, problem: "\"" + clean(args[most]) + "\" is one argument too many"}
		}
		return nil
	}
}

// Authprofile is the command line of module authprofile: it keeps OAuth 2.0
// credentials and prints access tokens that are valid. It needs no server, and
// shares its database with the services that use the library.
//
// "authprofile help" says what it can do.
package main

import (
	"os"

	"github.com/authprofile/authprofile/cmd/authprofile/internal/cli"
)

func main() { os.Exit(cli.Main()) }

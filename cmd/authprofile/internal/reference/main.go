// Reference writes docs/commandline.md, which is the help of all commands of
// authprofile on one page:
//
//	go run ./internal/reference > ../../docs/commandline.md
package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"github.com/authprofile/authprofile/cmd/authprofile/internal/cli"
)

func main() {
	text, err := page()
	if err == nil {
		_, err = os.Stdout.Write(text)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "reference:", err)
		os.Exit(1)
	}
}

// page returns the whole of docs/commandline.md.
func page() ([]byte, error) {
	root := cli.Root()
	root.InitDefaultCompletionCmd()
	root.DisableAutoGenTag = true
	var b bytes.Buffer
	b.WriteString("<!-- Made by go run ./internal/reference in cmd/authprofile. -->\n\n# The command line\n\n" +
		"`authprofile help` and `authprofile help COMMAND` say the same at the prompt.\n\n")
	if err := write(&b, root); err != nil {
		return nil, err
	}
	return append(bytes.TrimRight(b.Bytes(), "\n"), '\n'), nil
}

// write writes a command and those below it.
func write(b *bytes.Buffer, cmd *cobra.Command) error {
	if cmd.Name() == "help" || cmd.Hidden {
		return nil
	}
	cmd.Long = markdown(cmd.Long)
	anchor := func(file string) string { // of the heading that the command has
		return "#" + strings.ReplaceAll(strings.TrimSuffix(file, ".md"), "_", "-")
	}
	if err := doc.GenMarkdownCustom(cmd, b, anchor); err != nil {
		return err
	}
	b.WriteByte('\n')
	for _, below := range cmd.Commands() {
		if err := write(b, below); err != nil {
			return err
		}
	}
	return nil
}

// markdown turns the text of a help into Markdown: what is indented stands as it is,
// and a word in capitals is a heading.
func markdown(text string) string {
	paragraphs := strings.Split(text, "\n\n")
	for i, p := range paragraphs {
		switch {
		case strings.HasPrefix(p, "  "):
			paragraphs[i] = "```text\n" + strings.ReplaceAll(p[2:], "\n  ", "\n") + "\n```"
		case p == strings.ToUpper(p) && !strings.ContainsAny(p, "\t$"):
			paragraphs[i] = "**" + p + "**"
		}
	}
	return strings.Join(paragraphs, "\n\n")
}

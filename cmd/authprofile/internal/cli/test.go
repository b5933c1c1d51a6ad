package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/authprofile/authprofile"
)

func newTest(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "test PROFILE",
		Short: "Test the connection of a profile, step by step",
		Long: `Test the connection of a profile: its addresses and their certificates, the discovery
document, the redirect address, the client and its secret, and the clock. Each step
is shown as soon as it has ended. No grant is touched, and nothing is stored.

The provider sees some requests; a user profile causes a token request with a code
that does not exist, and an application's gets one token, which is thrown away.

In JSON it is an array of steps: name, outcome (passed, failed or skipped), problem,
and took, in nanoseconds. If a step has failed the exit code is 1.`,
		Example:           "  authprofile test crm",
		Args:              args(1, 1),
		ValidArgsFunction: a.completeProfile,
	}
	addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		m, p, err := a.openProfile(ctx, args[0])
		if err != nil {
			return err
		}
		o := a.output(cmd)
		t := o.table()
		failed := 0
		colours := map[string]colour{authprofile.StepPassed: green, authprofile.StepFailed: red, authprofile.StepSkipped: yellow}
		for step := range m.CheckSteps(ctx, p) {
			if step.Outcome == authprofile.StepFailed {
				failed++
			}
			took := step.Took.Round(time.Millisecond).String()
			if step.Outcome == authprofile.StepSkipped {
				took = ""
			}
			outcome, name := step.Outcome, step.Name
			if o.terminal { // each row is written by itself
				outcome, name, took = fmt.Sprintf("%-7s", outcome), fmt.Sprintf("%-13s", name), fmt.Sprintf("%7s", took)
			}
			row := append([]cell{{outcome, colours[step.Outcome]}}, cells(name, took, step.Problem)...)
			if err := t.row(step, row); err != nil {
				return err
			}
			if err := t.flush(); err != nil {
				return err
			}
		}
		if err := t.end(); err != nil {
			return err
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case failed > 0:
			return fmt.Errorf("the test of %q has failed", p.ID)
		}
		return nil
	}
	return cmd
}

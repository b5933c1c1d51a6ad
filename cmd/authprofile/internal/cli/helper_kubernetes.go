package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
)

func newHelperKubernetes(a *app) *cobra.Command {
	var user string
	cmd := newHelperOf(a, &user, "kubernetes PROFILE", "Give tokens to kubectl and other clients of Kubernetes",
		`Give tokens to kubectl and other clients of Kubernetes, as one of their exec plugins.

In ~/.kube/config:

  users:
  - name: ci
    user:
      exec:
        apiVersion: client.authentication.k8s.io/v1
        command: authprofile
        args: [helper, kubernetes, ci]
        interactiveMode: Never
        provideClusterInfo: true

With provideClusterInfo the client says which server the token is for, and gets one
only for the hosts of the profile. Without it the kubeconfig that names the profile is
trusted, and gets a token for whichever server it names.

The client keeps the token until it ends, and asks for another then, or if the server
refuses it.`,
		`  KUBERNETES_EXEC_INFO= authprofile helper kubernetes ci | jq -r .status.expirationTimestamp`, args(1, 1))
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		h, err := a.helped(cmd, args[0], user)
		if err != nil {
			return err
		}
		info := a.env["KUBERNETES_EXEC_INFO"]
		server, err := readExecInfo(info)
		if err != nil {
			return err
		}
		if server != nil {
			if _, err := h.allowsURL(*server); err != nil {
				return err
			}
		}
		tok, headers, err := h.token(ctx)
		if err != nil {
			return err
		}
		if err := headers[0].bearer("kubernetes"); err != nil {
			return err
		}
		answer := execCredential{APIVersion: execVersion, Kind: execKind, Status: &execStatus{tok.Expiry.UTC().Truncate(time.Second), tok.AccessToken}}
		text, err := marshal(answer)
		if err != nil {
			return err
		}
		return a.answer(string(text) + "\n")
	}
	return cmd
}

const (
	execVersion = "client.authentication.k8s.io/v1"
	execKind    = "ExecCredential"
)

// An execCredential is what a client of Kubernetes and its plugin tell each other.
type execCredential struct {
	APIVersion string      `json:"apiVersion"`
	Kind       string      `json:"kind"`
	Spec       *execSpec   `json:"spec,omitempty"`
	Status     *execStatus `json:"status,omitempty"`
}

// execSpec is what the client says. That there is a person to ask makes no
// difference: no question is ever asked.
type execSpec struct {
	Cluster *struct {
		Server string `json:"server"`
	} `json:"cluster"`
}

// execStatus is the answer.
type execStatus struct {
	Expires time.Time `json:"expirationTimestamp,omitzero"`
	Token   string    `json:"token"`
}

// readExecInfo reads the value of KUBERNETES_EXEC_INFO, and returns the address of
// the server that the token is for; nil: the client does not say. An empty value is
// that of a person who tries the command.
func readExecInfo(text string) (server *string, err error) {
	if text == "" {
		return nil, nil
	}
	if len(text) > maxRequest {
		return nil, errors.New("KUBERNETES_EXEC_INFO is longer than 1 MiB")
	}
	var info execCredential
	if err := json.Unmarshal([]byte(text), &info); err != nil || info.Kind != execKind {
		return nil, errors.New("KUBERNETES_EXEC_INFO is not an ExecCredential in JSON")
	}
	if info.APIVersion != execVersion {
		return nil, fmt.Errorf("the client speaks %q: write %q into the kubeconfig, or take a newer client", info.APIVersion, execVersion)
	}
	if info.Spec == nil || info.Spec.Cluster == nil {
		return nil, nil
	}
	return &info.Spec.Cluster.Server, nil
}

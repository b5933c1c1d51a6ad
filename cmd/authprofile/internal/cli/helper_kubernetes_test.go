package cli

import (
	"strings"
	"testing"
)

// execInfo is what a client of Kubernetes tells its plugin, with the address of a
// server unless that is empty.
func execInfo(server string) string {
	cluster := ""
	if server != "" {
		cluster = `"cluster":{"server":"` + server + `","certificate-authority-data":"AAAA","config":null},`
	}
	return `{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","spec":{` + cluster + `"interactive":false}}`
}

func TestHelperKubernetes(t *testing.T) {
	t.Parallel()
	w := newHelperWorld(t, "k8s.example.com")
	const answer = `{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"expirationTimestamp":"EXPIRY","token":"TOKEN"}}` + "\n"
	for info, want := range map[string]helperTest{
		"":                                  {stdout: answer},
		execInfo(""):                        {stdout: answer},
		execInfo("https://k8s.example.com"): {stdout: answer},
		execInfo("https://K8S.example.com:6443/api"):                                           {stdout: answer},
		execInfo("https://evil.example"):                                                       {code: 1, stderr: `no token is given for "evil.example"`},
		execInfo("http://k8s.example.com"):                                                     {code: 1, stderr: "must be https"},
		execInfo("https://ada@k8s.example.com"):                                                {code: 1, stderr: "must not have a user"},
		execInfo("k8s.example.com"):                                                            {code: 1, stderr: "no token is given"},
		strings.Replace(execInfo("https://k8s.example.com"), "https://k8s.example.com", "", 1): {code: 1, stderr: "no token is given"},
		strings.Replace(execInfo(""), "io/v1", "io/v1beta1", 1):                                {code: 1, stderr: `the client speaks "client.authentication.k8s.io/v1beta1": write "client.authentication.k8s.io/v1"`},
		"nonsense":                 {code: 1, stderr: "KUBERNETES_EXEC_INFO is not an ExecCredential in JSON"},
		"{}":                       {code: 1, stderr: "KUBERNETES_EXEC_INFO is not an ExecCredential in JSON"},
		strings.Repeat(" ", 2<<20): {code: 1, stderr: "KUBERNETES_EXEC_INFO is longer than 1 MiB"},
	} {
		w.env["KUBERNETES_EXEC_INFO"] = info
		w.test("kubernetes", []helperTest{want})
	}
	w.fails(2, `"get" is one argument too many`, "helper", "kubernetes", "ci", "get")
}

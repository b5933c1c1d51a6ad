package cli

import "testing"

func TestHelperDocker(t *testing.T) {
	t.Parallel()
	w := newHelperWorld(t, "registry.example.com", "127.0.0.1:5000", "[::1]")
	get := []string{"get"}
	w.test("docker", []helperTest{
		{"registry.example.com", get, 0, `{"ServerURL":"registry.example.com","Username":"oauth2","Secret":"TOKEN"}` + "\n", ""},
		{"https://Registry.Example.com:443/v2/\n", get, 0, `{"ServerURL":"https://Registry.Example.com:443/v2/","Username":"oauth2","Secret":"TOKEN"}` + "\n", ""},
		{"registry.example.com", []string{"get", "--username", "oauth2accesstoken"}, 0, `{"ServerURL":"registry.example.com","Username":"oauth2accesstoken","Secret":"TOKEN"}` + "\n", ""},
		{"127.0.0.1:5000", get, 0, `{"ServerURL":"127.0.0.1:5000","Username":"oauth2","Secret":"TOKEN"}` + "\n", ""},
		{"http://127.0.0.1:5000", get, 0, `{"ServerURL":"http://127.0.0.1:5000","Username":"oauth2","Secret":"TOKEN"}` + "\n", ""},
		{"[::1]:5000", get, 0, `{"ServerURL":"[::1]:5000","Username":"oauth2","Secret":"TOKEN"}` + "\n", ""},
		{"127.0.0.1:5001", get, 1, dockerNotFound, "no token is given"},
		{"http://registry.example.com", get, 1, dockerNotFound, "must be https"},
		{"https://index.docker.io/v1/", get, 1, dockerNotFound, `no token is given for "index.docker.io"`},
		{"https://ada:hunter2@registry.example.com", get, 1, dockerNotFound, "must not have a user or password"},
		{"ada@registry.example.com", get, 1, dockerNotFound, "must not have a user or password"},
		{"registry.example.com\nevil.example", get, 1, dockerNotFound, "no token is given"},
		{"registry.example.com\x00", get, 1, dockerNotFound, "no token is given"},
		{"file:///registry.example.com", get, 1, dockerNotFound, "no token is given"},
		{"", get, 1, dockerNoAddress, "there is no address of a server"},
		{`{"ServerURL":"registry.example.com","Username":"ada","Secret":"x"}`, []string{"store"}, 0, "", ""},
		{"registry.example.com", []string{"erase"}, 0, "", ""},
		{"unused", []string{"list"}, 0, "{}\n", ""},
		{"", []string{"version"}, 2, "", "there is no action \"version\""},
		{"", nil, 2, "", "get, store, erase or list is missing"},
	})
}

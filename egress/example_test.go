package egress_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/egress"
)

func ExampleNewClient() {
	m := &authprofile.Manager{HTTPClient: egress.NewClient()}
	_, err := m.Discover(context.Background(), "http://127.0.0.1:8080/.well-known/openid-configuration")
	fmt.Println(errors.Is(err, egress.ErrRefused))
	// Output: true
}

package console

import "github.com/authprofile/authprofile"

// A survey counts what no page can count while a person waits.
type survey struct{ manager *authprofile.Manager }

func newSurvey(m *authprofile.Manager) *survey { return &survey{manager: m} }

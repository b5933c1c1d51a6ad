//go:build !unix

package main

import "syscall"

func asOther(dir string) (*syscall.SysProcAttr, error) { return nil, nil }

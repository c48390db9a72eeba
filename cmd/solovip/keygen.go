package main

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/solovip/solovip/mesh"
)

func keygenCommand() *cli.Command {
	return &cli.Command{
		Name:   "keygen",
		Usage:  "make a key for the mesh: the same file goes to all members of the cluster",
		Flags:  []cli.Flag{&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write it to a new `FILE` of mode 0600, instead of stdout"}},
		Before: noArguments,
		Action: func(c *cli.Context) error {
			key, err := mesh.NewKey(rand.Reader)
			if err != nil {
				return err
			}
			if path := c.String("output"); path != "" {
				return mesh.WriteKey(path, key)
			}
			_, err = fmt.Fprintln(c.App.Writer, base64.StdEncoding.EncodeToString(key))
			return err
		},
	}
}

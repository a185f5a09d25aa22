// github.com/rudderlabs/analytics-go.
package main

import (
	"fmt"

	rudder "github.com/rudderlabs/analytics-go/v4"
)

// rudderSent is told of each message when it has arrived, or when the SDK has given it up.
type rudderSent chan error

func (sent rudderSent) Success(rudder.Message)            { sent <- nil }
func (sent rudderSent) Failure(_ rudder.Message, e error) { sent <- e }

func rudderMessage(one message) (rudder.Message, error) {
	switch one.Do {
	case "track":
		return rudder.Track{UserId: one.User, AnonymousId: one.Anonymous, Event: one.Event,
			Properties: one.Properties, OriginalTimestamp: one.At}, nil
	case "page":
		return rudder.Page{UserId: one.User, AnonymousId: one.Anonymous, Name: one.Name,
			Properties: one.Properties, OriginalTimestamp: one.At}, nil
	case "identify":
		return rudder.Identify{UserId: one.User, AnonymousId: one.Anonymous, Traits: one.Traits,
			OriginalTimestamp: one.At}, nil
	case "alias":
		return rudder.Alias{UserId: one.User, PreviousId: one.Old, OriginalTimestamp: one.At}, nil
	case "group":
		return rudder.Group{UserId: one.User, GroupId: one.Group, Traits: one.Traits, OriginalTimestamp: one.At}, nil
	}
	return nil, fmt.Errorf("it knows no %s", one.Do)
}

func rudderGo(told script) error {
	sent := make(rudderSent, 1)
	config := rudder.Config{DataPlaneUrl: told.Host, BatchSize: 1, Callback: sent}
	client, err := rudder.NewWithConfig(told.Key, config)
	if err != nil {
		return err
	}
	tell := func(one message) error {
		its, err := rudderMessage(one)
		if err != nil {
			return err
		}
		return client.Enqueue(its)
	}
	if err := told.oneByOne(tell, sent); err != nil {
		return err
	}
	return client.Close()
}

// github.com/segmentio/analytics-go.
package main

import (
	"fmt"

	"github.com/segmentio/analytics-go/v3"
)

// segmentSent is told of each message when it has arrived, or when the SDK has given it up.
type segmentSent chan error

func (sent segmentSent) Success(analytics.Message)            { sent <- nil }
func (sent segmentSent) Failure(_ analytics.Message, e error) { sent <- e }

func segmentMessage(one message) (analytics.Message, error) {
	switch one.Do {
	case "track":
		return analytics.Track{UserId: one.User, AnonymousId: one.Anonymous, Event: one.Event,
			Properties: one.Properties, Timestamp: one.At}, nil
	case "page":
		return analytics.Page{UserId: one.User, AnonymousId: one.Anonymous, Name: one.Name,
			Properties: one.Properties, Timestamp: one.At}, nil
	case "identify":
		return analytics.Identify{UserId: one.User, AnonymousId: one.Anonymous, Traits: one.Traits,
			Timestamp: one.At}, nil
	case "alias":
		return analytics.Alias{UserId: one.User, PreviousId: one.Old, Timestamp: one.At}, nil
	case "group":
		return analytics.Group{UserId: one.User, GroupId: one.Group, Traits: one.Traits, Timestamp: one.At}, nil
	}
	return nil, fmt.Errorf("it knows no %s", one.Do)
}

func segmentGo(told script) error {
	sent := make(segmentSent, 1)
	config := analytics.Config{Endpoint: told.Host, BatchSize: 1, Callback: sent}
	client, err := analytics.NewWithConfig(told.Key, config)
	if err != nil {
		return err
	}
	tell := func(one message) error {
		its, err := segmentMessage(one)
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

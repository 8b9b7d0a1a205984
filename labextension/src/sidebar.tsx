import { ReactWidget, addIcon, listIcon } from '@jupyterlab/ui-components';
import { CommandRegistry } from '@lumino/commands';
import { Poll } from '@lumino/polling';
import { Message } from '@lumino/messaging';
import * as React from 'react';

import { sessionsIcon } from './icons';
import { ISession, request } from './request';

const LIGHTS: { [state: string]: string } = {
  running: 'nb-lab-running',
  stale: 'nb-lab-stale'
};
const WORDS: { [state: string]: string } = { stale: 'runner does not answer' };

/** The side bar: sessions with live status; it asks the server only while it is shown. */
export class SessionsPanel extends ReactWidget {
  constructor(private commands: CommandRegistry) {
    super();
    this.id = 'nextpyp-nb-sessions';
    this.title.icon = sessionsIcon;
    this.title.caption = 'Cryo-EM sessions';
    this.addClass('nb-lab-panel');
    this.poll = new Poll({
      auto: false,
      factory: () => this.refresh(),
      frequency: { interval: 2000, backoff: true, max: 30000 },
      standby: () => !this.isVisible || document.hidden
    });
  }

  /** Read the list again, now. */
  async refresh(): Promise<void> {
    try {
      this.sessions = await request<ISession[]>('sessions');
      this.problem = '';
    } catch (error) {
      this.problem = (error as Error).message;
      throw error;
    } finally {
      this.update();
    }
  }

  dispose(): void {
    this.poll.dispose();
    super.dispose();
  }

  protected onAfterShow(message: Message): void {
    super.onAfterShow(message);
    void this.poll.start();
    void this.poll.refresh();
  }

  protected render(): JSX.Element {
    const sessions = this.sessions;
    const wanted = this.filter.toLowerCase();
    const shown = (sessions ?? []).filter(session =>
      `${session.name} ${session.group ?? ''} ${session.owner}`
        .toLowerCase()
        .includes(wanted)
    );
    return (
      <>
        <div className="nb-lab-head">
          <b>Sessions</b>
          <button
            title="List of all sessions"
            onClick={() => void this.commands.execute('nextpyp-nb:sessions')}
          >
            <listIcon.react tag="span" />
          </button>
          <button
            title="New single-particle session"
            onClick={() => void this.commands.execute('nextpyp-nb:new')}
          >
            <addIcon.react tag="span" />
          </button>
        </div>
        <input
          className="nb-lab-filter"
          placeholder="Filter by name, group or owner"
          aria-label="Filter sessions"
          value={this.filter}
          onChange={event => {
            this.filter = event.target.value;
            this.update();
          }}
        />
        {this.problem && (
          <div className="nb-lab-problem" role="alert">
            {this.problem}
          </div>
        )}
        <div className="nb-lab-list">
          {shown.map(session => this.line(session))}
          {sessions && !shown.length && (
            <div className="nb-lab-muted nb-lab-none">
              {sessions.length
                ? `None of ${sessions.length} sessions matches.`
                : 'There is no session yet.'}
            </div>
          )}
          {!sessions && !this.problem && (
            <div className="nb-lab-muted nb-lab-none">Reading…</div>
          )}
        </div>
      </>
    );
  }

  private line(session: ISession): JSX.Element {
    const { name, runner } = session;
    const busy = this.waiting.has(name);
    const running = runner === 'running';
    return (
      <div className="nb-lab-session" key={name} data-session={name}>
        <div className="nb-lab-name" title={session.folder}>
          <i className={`nb-lab-light ${LIGHTS[runner] ?? ''}`} />
          <b>{name}</b>
          <span className="nb-lab-muted nb-lab-state">
            {WORDS[runner] ?? runner}
          </span>
        </div>
        <div className="nb-lab-counts">
          <span>
            <b>{number(session.micrographs)}</b> of {number(session.movies)}{' '}
            micrographs
          </span>
          {session.particles > 0 && (
            <span>
              <b>{number(session.particles)}</b> particles
            </span>
          )}
          {session.rate > 0 && (
            <span>
              <b>{number(session.rate)}</b>/h
            </span>
          )}
          {session.failed > 0 && (
            <span className="nb-lab-failed">
              <b>{number(session.failed)}</b> failed
            </span>
          )}
        </div>
        <div className="nb-lab-muted nb-lab-doing" title={session.doing}>
          {session.doing ||
            (session.last_activity
              ? `last activity ${new Date(session.last_activity).toLocaleString()}`
              : 'nothing has happened yet')}
        </div>
        <div className="nb-lab-buttons">
          <button
            onClick={() =>
              void this.commands.execute('nextpyp-nb:open', { session: name })
            }
          >
            Open
          </button>
          {session.operable && (
            <>
              <button
                disabled={busy || running}
                onClick={() => void this.command(name, 'start')}
              >
                Start
              </button>
              <button
                disabled={busy || !running}
                title="Finish what is in flight, then stop"
                onClick={() => void this.command(name, 'stop')}
              >
                Stop
              </button>
            </>
          )}
          <span className="nb-lab-muted nb-lab-group">
            {session.group ?? session.owner}
          </span>
        </div>
        {this.answers.has(name) && (
          <div className="nb-lab-answer" role="status">
            {this.answers.get(name)}
          </div>
        )}
      </div>
    );
  }

  private async command(name: string, command: string): Promise<void> {
    this.waiting.add(name);
    this.answers.delete(name);
    this.update();
    try {
      const answer = await request<{ ok: boolean; message: string }>(
        `sessions/${name}/${command}`,
        {}
      );
      this.answers.set(name, answer.message);
    } catch (error) {
      this.answers.set(name, (error as Error).message);
    } finally {
      this.waiting.delete(name);
      await this.poll.refresh();
    }
    const said = this.answers.get(name);
    window.setTimeout(() => {
      if (this.answers.get(name) === said) {
        this.answers.delete(name);
        this.update();
      }
    }, 8000);
  }

  private poll: Poll;
  private sessions: ISession[] | null = null;
  private problem = '';
  private filter = '';
  private waiting = new Set<string>();
  private answers = new Map<string, string>();
}

function number(value: number): string {
  return Math.round(value).toLocaleString('en');
}

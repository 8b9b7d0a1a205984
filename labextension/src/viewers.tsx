import {
  ABCWidgetFactory,
  DocumentRegistry,
  DocumentWidget,
  TextModelFactory
} from '@jupyterlab/docregistry';
import { Contents } from '@jupyterlab/services';
import { ReactWidget } from '@jupyterlab/ui-components';
import * as React from 'react';

import { sessionsIcon } from './icons';
import { IMrcPreview, IStarPreview, request } from './request';

const STEP = 1;

/** A model without content: a movie of many gigabytes stays on the server. */
export class ContentlessModelFactory extends TextModelFactory {
  get name(): string {
    return 'nextpyp-nb-on-server';
  }

  get fileFormat(): Contents.FileFormat {
    return null;
  }
}

/** Asks the server for a part of the file, and draws it. */
abstract class Viewer<T extends { first: number }> extends ReactWidget {
  constructor(protected context: DocumentRegistry.Context) {
    super();
    this.addClass('nb-lab-viewer');
    void context.ready.then(() => this.look({}));
    context.fileChanged.connect(() => void this.look(this.asked), this);
  }

  protected async look(asked: {
    [key: string]: string | number;
  }): Promise<void> {
    this.asked = asked;
    const parts = Object.entries({ path: this.context.localPath, ...asked });
    const query = parts
      .map(([key, value]) => `${key}=${encodeURIComponent(value)}`)
      .join('&');
    try {
      const found = await request<T>(`preview?${query}`);
      if (this.asked === asked) {
        this.found = found;
        this.problem = '';
      }
    } catch (error) {
      this.problem = (error as Error).message;
    }
    this.update();
  }

  protected render(): JSX.Element {
    return (
      <>
        {this.problem && (
          <div className="nb-lab-problem" role="alert">
            {this.problem}
          </div>
        )}
        {!this.problem && !this.found && (
          <div className="nb-lab-muted nb-lab-none">Reading…</div>
        )}
        {this.found && this.draw(this.found)}
      </>
    );
  }

  protected abstract draw(found: T): JSX.Element;

  protected pager(
    what: string,
    found: T,
    shown: number,
    total: number,
    keep: { [key: string]: string }
  ): JSX.Element {
    const go = (first: number) => void this.look({ ...keep, first });
    const last = found.first + shown;
    return (
      <span className="nb-lab-pager">
        <button
          disabled={found.first <= 0}
          title="Back"
          onClick={() => go(Math.max(0, found.first - Math.max(STEP, shown)))}
        >
          ‹
        </button>
        {what} {(found.first + 1).toLocaleString('en')}
        {shown > 1 ? `–${last.toLocaleString('en')}` : ''} of{' '}
        {total.toLocaleString('en')}
        <button
          disabled={last >= total}
          title="Forward"
          onClick={() => go(last)}
        >
          ›
        </button>
      </span>
    );
  }

  private found: T | null = null;
  private problem = '';
  private asked: { [key: string]: string | number } = {};
}

class MrcViewer extends Viewer<IMrcPreview> {
  protected draw(found: IMrcPreview): JSX.Element {
    const facts = [
      `${found.width.toLocaleString('en')} × ${found.height.toLocaleString('en')} px`,
      found.pixel_size ? `${found.pixel_size.toPrecision(4)} Å/px` : null,
      `mode ${found.mode}`,
      `${(found.bytes / 2 ** 20).toFixed(1)} MB`,
      found.mean === null
        ? null
        : `shown: mean ${digits(found.mean)}, from ${digits(found.minimum)} to ${digits(found.maximum)}`
    ];
    return (
      <>
        <div className="nb-lab-facts">
          {this.pager(
            found.shown > 1 ? 'images' : 'image',
            found,
            found.shown,
            found.images,
            {}
          )}
          <span className="nb-lab-muted">
            {facts.filter(fact => fact).join(' · ')}
          </span>
        </div>
        <div className="nb-lab-picture">
          <img src={found.picture} alt={`Image of ${found.name}`} />
        </div>
      </>
    );
  }
}

class StarViewer extends Viewer<IStarPreview> {
  protected draw(found: IStarPreview): JSX.Element {
    const keep = { block: found.block };
    return (
      <>
        <div className="nb-lab-facts">
          <select
            aria-label="Block"
            value={found.block}
            onChange={event => void this.look({ block: event.target.value })}
          >
            {Object.entries(found.blocks).map(([name, rows]) => (
              <option key={name} value={name}>
                data_{name} ({rows.toLocaleString('en')})
              </option>
            ))}
          </select>
          {this.pager(
            'rows',
            found,
            found.rows.length,
            found.blocks[found.block],
            keep
          )}
        </div>
        <div className="nb-lab-table">
          <table>
            <thead>
              <tr>
                <th />
                {found.columns.map(name => (
                  <th key={name}>{name}</th>
                ))}
              </tr>
            </thead>
            <tbody>
              {found.rows.map((row, number) => (
                <tr key={number}>
                  <td className="nb-lab-muted">
                    {(found.first + number + 1).toLocaleString('en')}
                  </td>
                  {row.map((value, column) => (
                    <td
                      key={column}
                      className={
                        typeof value === 'number' ? 'nb-lab-number' : ''
                      }
                    >
                      {value}
                    </td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      </>
    );
  }
}

const VIEWERS = { mrc: MrcViewer, star: StarViewer };

/** Makes the viewer of one kind of file. */
export class ViewerFactory extends ABCWidgetFactory<DocumentWidget> {
  constructor(
    private kind: keyof typeof VIEWERS,
    options: DocumentRegistry.IWidgetFactoryOptions
  ) {
    super(options);
  }

  protected createNewWidget(context: DocumentRegistry.Context): DocumentWidget {
    const widget = new DocumentWidget({
      context,
      content: new VIEWERS[this.kind](context)
    });
    widget.title.icon = sessionsIcon;
    return widget;
  }
}

function digits(value: number | null): string {
  return value === null ? '–' : Number(value.toPrecision(4)).toString();
}

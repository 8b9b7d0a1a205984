import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';

/** One session, as the server tells it. */
export interface ISession {
  name: string;
  group: string | null;
  owner: string;
  folder: string;
  runner: 'running' | 'stopped' | 'stale' | 'unreadable';
  movies: number;
  micrographs: number;
  particles: number;
  failed: number;
  rate: number;
  doing: string;
  last_activity: string | null;
  operable: boolean;
}

export interface IMrcPreview {
  name: string;
  width: number;
  height: number;
  images: number;
  first: number;
  shown: number;
  mode: number;
  pixel_size: number | null;
  bytes: number;
  minimum: number | null;
  maximum: number | null;
  mean: number | null;
  picture: string;
}

export interface IStarPreview {
  name: string;
  blocks: { [name: string]: number };
  block: string;
  first: number;
  rows_a_page: number;
  columns: string[];
  rows: (string | number)[][];
}

/** Ask the server part of nextpyp_nb; an error carries its sentence. */
export async function request<T>(
  where: string,
  body?: { [key: string]: unknown }
): Promise<T> {
  const settings = ServerConnection.makeSettings();
  const response = await ServerConnection.makeRequest(
    URLExt.join(settings.baseUrl, 'nextpyp-nb', where),
    body === undefined
      ? { cache: 'no-store' }
      : { method: 'POST', body: JSON.stringify(body) },
    settings
  );
  let answer: { message?: string } = {};
  try {
    answer = await response.json();
  } catch {
    // Not JSON: a proxy's page, or a server that does not know the address.
  }
  if (!response.ok) {
    throw new Error(
      answer.message ||
        (response.status === 404
          ? 'The server part is not enabled: run "jupyter server extension enable nextpyp_nb.server" and start JupyterLab again.'
          : `The server answered ${response.status} ${response.statusText}.`)
    );
  }
  return answer as T;
}

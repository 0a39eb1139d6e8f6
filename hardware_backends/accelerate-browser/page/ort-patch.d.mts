// SPDX-License-Identifier: Apache-2.0
export function withoutEval(script: string, name: string): string;
